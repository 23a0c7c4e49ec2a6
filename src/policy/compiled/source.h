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
  // Set for an imported list, which has no targets: how many names it denies. They are in LayerSource::listed.
  std::optional<std::uint32_t> listed = std::nullopt;
};

// The names of imported lists, as hashes: never exact, so good for denying only.
class ListedNames {
 public:
  // More than any list in use; 170 MiB in the image.
  static constexpr std::size_t kMaxNames = 16u << 20;
  static constexpr std::size_t kMaxLists = 255;

  // `key`: of all hashes of the layer (of one without lists: unless its names meet under it). Fixed by the lists' own
  // text, so that equal lists make equal images, and whoever writes one of several lists does not know it.
  explicit ListedNames(std::uint64_t key = 0) : key_(key) {}

  std::uint64_t key() const { return key_; }
  // Into the list that is being collected.
  void add(std::string_view name, NameScope scope);
  // Ends that list. Returns how many different names it has.
  std::uint32_t close_list();
  std::size_t size() const { return slots_.size(); }

  // For the builder and for what reads an image back. Sorted; the payload is that of format.h.
  std::vector<std::uint64_t> sorted_slots() const;
  // False, and nothing restored, if these are not what sorted_slots() of so many lists gives.
  [[nodiscard]] bool restore(std::vector<std::uint64_t> slots, std::size_t lists);

 private:
  std::uint64_t key_;
  std::size_t lists_ = 0;
  std::size_t list_start_ = 0;
  std::vector<std::uint64_t> slots_;
};

struct LayerSource {
  Layer layer = Layer::session;
  Mode mode = Mode::none;
  NameNeed name_need = NameNeed::optional;
  std::vector<std::uint16_t> dns_types;
  // In order of evaluation: all of Step::deny, then Step::rules in their order, then Step::allow.
  std::vector<Entry> entries;
  // List i is the i-th of the entries that are lists.
  ListedNames listed;
};

struct ImageSource {
  // From the outside in: at most one each of floor and session (always there), then any of run.
  std::vector<LayerSource> layers;
  std::vector<net::Cidr> nat64_prefixes;
  std::vector<net::IpAddress> self_addresses;
  std::vector<net::IpAddress> lifted;  // --insist floor=ADDRESS
  std::vector<DnsUpstream> dns_upstreams;
  std::vector<Publish> publishes;
  Limits limits;
  std::uint32_t written_limits = 0;  // bit i: a policy sets limit i
};

// The bytes that Image::open() accepts. Equal sources give equal bytes. An error where so many names of a layer with
// lists were chosen to meet in one place of its table that it would grow without end; without lists, and by chance,
// never.
Result<std::vector<std::uint8_t>> build_image(const ImageSource& source);

// An image as a change to another one: `head` replaces its first bytes, `tail` follows its last one.
struct ImagePatch {
  std::vector<std::uint8_t> head;
  std::vector<std::uint8_t> tail;
};
// Puts the operator's floor around an image of a session alone, without touching its megabytes. `floor`: one layer, and
// the prefixes and addresses of the machine.
Result<ImagePatch> graft_floor(const Image& session, const ImageSource& floor);
std::vector<std::uint8_t> patched(Bytes image, const ImagePatch& patch);

// The inverse of build_image(): what comes back builds the same bytes. Entry::place is `place` everywhere; targets of
// one entry come in any order. An error where a record points nowhere: a policy that lost a denial must not go on.
Result<ImageSource> read_back(const Image& image, const std::string& place);

}  // namespace weir::policy
