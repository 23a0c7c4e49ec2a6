// What an address is: public, private, the host's own, ... and whether the hard floor covers it.
//
// Static knowledge is a constexpr table (address_class.cc) made from the IANA special-purpose registries and the list
// of cloud metadata endpoints; what only the machine knows comes in as HostFacts. An address may be in several classes
// (10.0.0.5 on the local network is @private and @lan); @public excludes every other class.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

#include "net/ip_address.h"
#include "policy/compiled/host_facts.h"

namespace weir::policy {

enum class AddressClass : std::uint8_t {
  publicly,  // "@public"
  privately,
  lan,
  loopback,
  link_local,
  metadata,
  multicast,
  special,
  host,
  sandboxes,
  any,
};
inline constexpr std::uint8_t kAddressClassCount = static_cast<std::uint8_t>(AddressClass::any) + 1;

// "@public", "@link-local", ...
std::string_view name_of(AddressClass address_class);
// Of the spelling with "@".
std::optional<AddressClass> address_class_of(std::string_view text);

class ClassSet {
 public:
  constexpr ClassSet() = default;
  constexpr ClassSet(std::initializer_list<AddressClass> classes) {
    for (const AddressClass each : classes) add(each);
  }
  constexpr void add(AddressClass each) { bits_ = static_cast<std::uint16_t>(bits_ | bit(each)); }
  constexpr void add(ClassSet other) { bits_ = static_cast<std::uint16_t>(bits_ | other.bits_); }
  constexpr void remove(AddressClass each) { bits_ = static_cast<std::uint16_t>(bits_ & ~bit(each)); }
  constexpr bool has(AddressClass each) const { return (bits_ & bit(each)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  friend constexpr bool operator==(ClassSet, ClassSet) = default;

 private:
  static constexpr unsigned bit(AddressClass each) { return 1u << static_cast<unsigned>(each); }
  std::uint16_t bits_ = 0;
};

// Where an address stands. `hard`: the hard floor covers it, whatever any entry says. Without @public and not hard, the
// soft floor covers it.
struct Standing {
  ClassSet classes;
  bool hard = false;

  constexpr bool is_public() const { return classes.has(AddressClass::publicly); }
};

// By the tables alone. IPv4-mapped addresses are IPv4 already (net::IpAddress).
Standing static_standing(const net::IpAddress& address);

// By the tables, the machine, and what the policy image adds: `self_addresses` are the host's too (1:1 NAT), an address
// of `lifted` is not hard (but not public either). Directed broadcast addresses of the LAN's prefixes are hard.
struct Surroundings {
  const HostFacts& facts;
  std::span<const net::IpAddress> self_addresses;
  std::span<const net::IpAddress> lifted;
  std::span<const net::Cidr> nat64_prefixes;
};
Standing standing_of(const net::IpAddress& address, const Surroundings& around);

// The IPv4 address inside an address of a NAT64 prefix of length 32, 40, 48, 56, 64 or 96 (RFC 6052 2.2); nullopt if
// the prefix does not contain it, has another length, or bits 64-71 are set.
std::optional<net::IpAddress> nat64_inner(const net::Cidr& prefix, const net::IpAddress& address);

// The one range of the soft floor (a block of the tables) that `cidr` lies wholly inside; nullopt if none. Such a CIDR
// opens the soft floor for its addresses. Blocks of @lan are the machine's and are not known here.
std::optional<AddressClass> soft_range_around(const net::Cidr& cidr);

// One row of the tables, for documents, lint and tests.
struct AddressBlock {
  net::Cidr cidr;
  AddressClass address_class;
  bool hard;
  std::string_view why;  // with the RFC or the source
};
std::span<const AddressBlock> address_blocks();

}  // namespace weir::policy
