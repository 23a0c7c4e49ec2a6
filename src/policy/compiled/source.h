// What an image is built from: a policy after parsing, as plain values. policy/text makes it from flags and files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/ip_address.h"
#include "policy/compiled/address_class.h"
#include "policy/compiled/image.h"
#include "policy/compiled/verdict.h"

namespace weir::policy {

// A set of protocols.
class ProtocolSet {
 public:
  constexpr ProtocolSet() = default;
  static constexpr ProtocolSet all() { return ProtocolSet(0b1110); }
  static constexpr ProtocolSet only(net::Protocol protocol) { return ProtocolSet(bit(protocol)); }
  static constexpr ProtocolSet of_bits(std::uint8_t bits) { return ProtocolSet(bits & 0b1110u); }

  constexpr bool has(net::Protocol protocol) const { return (bits_ & bit(protocol)) != 0; }
  constexpr bool is_all() const { return bits_ == all().bits_; }
  constexpr std::uint8_t bits() const { return bits_; }
  friend constexpr bool operator==(ProtocolSet, ProtocolSet) = default;

 private:
  static constexpr unsigned bit(net::Protocol protocol) { return 1u << static_cast<unsigned>(protocol); }
  constexpr explicit ProtocolSet(unsigned bits) : bits_(static_cast<std::uint8_t>(bits)) {}
  std::uint8_t bits_ = 0;
};

enum class NameScope : std::uint8_t {
  exact,        // "example.com"
  below,        // "*.example.com"
  at_or_below,  // ".example.com"
};

// Insisted on although it reaches names of many owners ("*", "*.com"). Broad targets never make a single label or a
// special-use name askable.
enum class Breadth : std::uint8_t { ordinary, broad };

// One destination.
struct Target {
  enum class Kind : std::uint8_t { name, cidr, address_class };

  Kind kind = Kind::name;
  // Kind::name. Canonical (net::DomainName) text; "" is the root and then the scope is `below`.
  std::string name;
  NameScope scope = NameScope::exact;
  Breadth breadth = Breadth::ordinary;
  // Kind::cidr.
  net::Cidr cidr;
  // Kind::address_class.
  AddressClass address_class = AddressClass::any;

  ProtocolSet protocols = ProtocolSet::all();
  // Empty: any port. Never consulted for ICMP: a target with ports does not match ICMP at all.
  std::vector<net::PortRange> ports;

  friend bool operator==(const Target&, const Target&) = default;
};

enum class Action : std::uint8_t { deny = 0, allow = 1 };
enum class Step : std::uint8_t { deny = 1, rules = 2, allow = 3 };
enum class Ech : std::uint8_t { refused, accepted };

// One thing that the author wrote; a set is one entry with many targets.
struct Entry {
  Action action = Action::allow;
  Step step = Step::allow;
  Ech ech = Ech::refused;
  std::string text;   // as the author wrote it
  std::string place;  // where: "agents.toml:3:9", "--allow"; for messages, not in the image
  std::vector<Target> targets;
};

struct LayerSource {
  Layer layer = Layer::session;
  Mode mode = Mode::none;
  NameNeed name_need = NameNeed::optional;
  std::vector<std::uint16_t> dns_types;
  // In order of evaluation: all of Step::deny, then Step::rules in their order, then Step::allow.
  std::vector<Entry> entries;
};

struct ImageSource {
  // From the outside in: at most one each of floor, session (always there), run.
  std::vector<LayerSource> layers;
  std::vector<net::Cidr> nat64_prefixes;
  std::vector<net::IpAddress> self_addresses;
  std::vector<net::IpAddress> lifted;  // --insist floor=ADDRESS
  std::vector<DnsUpstream> dns_upstreams;
  std::vector<Publish> publishes;
  Limits limits;
};

// The bytes that Image::open() accepts. Equal sources give equal bytes.
std::vector<std::uint8_t> build_image(const ImageSource& source);

}  // namespace weir::policy
