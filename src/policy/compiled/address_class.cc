#include "policy/compiled/address_class.h"

#include <algorithm>
#include <array>

namespace weir::policy {

namespace {

using enum AddressClass;

constexpr net::Cidr block4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, unsigned length) {
  return net::Cidr::of(net::IpAddress::v4({a, b, c, d}), length);
}

// The first groups of an IPv6 address; the others are zero.
constexpr net::IpAddress groups6(std::initializer_list<std::uint16_t> groups) {
  net::IpAddress::V6 bytes{};
  std::size_t at = 0;
  for (const std::uint16_t group : groups) {
    bytes[at++] = static_cast<std::uint8_t>(group >> 8);
    bytes[at++] = static_cast<std::uint8_t>(group);
  }
  return net::IpAddress::v6(bytes);
}
constexpr net::Cidr block6(std::initializer_list<std::uint16_t> groups, unsigned length) {
  return net::Cidr::of(groups6(groups), length);
}

constexpr bool kHard = true;
constexpr bool kSoft = false;

// The first row that contains an address decides, so narrower rows stand before wider ones of another class.
constexpr auto kBlocks = std::to_array<AddressBlock>({
    // Cloud metadata and credential endpoints: services that hand out secrets to whoever connects from this machine.
    {block4(169, 254, 169, 254, 32), metadata, kHard, "metadata of AWS, GCP, Azure, OpenStack and most others"},
    {block4(169, 254, 169, 253, 32), metadata, kHard, "AWS VPC resolver"},
    {block4(169, 254, 169, 123, 32), metadata, kHard, "AWS time service"},
    {block4(169, 254, 169, 250, 31), metadata, kHard, "AWS Windows activation"},
    {block4(169, 254, 170, 2, 32), metadata, kHard, "AWS ECS task credentials"},
    {block4(169, 254, 170, 23, 32), metadata, kHard, "AWS EKS pod identity"},
    {block4(169, 254, 79, 129, 32), metadata, kHard, "AWS X-Ray daemon"},
    {block4(169, 254, 100, 1, 32), metadata, kHard, "AWS Lambda internals"},
    {block4(169, 254, 129, 0, 24), metadata, kHard, "Azure App Service identity"},
    {block4(168, 63, 129, 16, 32), metadata, kHard, "Azure WireServer: a public address with a host-local meaning"},
    {block4(169, 254, 0, 23, 32), metadata, kHard, "Tencent Cloud metadata"},
    {block4(169, 254, 10, 10, 32), metadata, kHard, "Tencent Cloud metadata"},
    {block4(169, 254, 20, 10, 32), metadata, kHard, "Kubernetes node-local DNS"},
    {block4(169, 254, 42, 42, 32), metadata, kHard, "Scaleway metadata"},
    {block4(100, 100, 100, 200, 32), metadata, kHard, "Alibaba Cloud metadata"},
    {block4(100, 100, 2, 136, 32), metadata, kHard, "Alibaba Cloud internal DNS"},
    {block4(100, 100, 2, 138, 32), metadata, kHard, "Alibaba Cloud internal DNS"},
    {block4(192, 0, 0, 192, 32), metadata, kHard, "Oracle Cloud classic metadata"},
    {block4(161, 26, 0, 0, 16), metadata, kHard, "IBM Cloud service network"},
    {block4(166, 8, 0, 0, 14), metadata, kHard, "IBM Cloud service network"},
    {block6({0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254}, 128), metadata, kHard, "AWS metadata"},
    {block6({0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023}, 128), metadata, kHard, "AWS EKS pod identity"},
    {block6({0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0123}, 128), metadata, kHard, "AWS time service"},
    {block6({0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0253}, 128), metadata, kHard, "AWS VPC resolver"},
    {block6({0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254}, 128), metadata, kHard, "GCP metadata"},
    {block6({0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe}, 128), metadata, kHard, "Oracle Cloud metadata"},
    {block6({0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe}, 128), metadata, kHard, "OpenStack metadata"},
    {block6({0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0x0001}, 128), metadata, kHard, "Linode metadata"},
    {block6({0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042}, 128), metadata, kHard, "Scaleway metadata"},

    // IPv4: IANA IPv4 Special-Purpose Address Registry and what it leaves to other registries.
    {block4(0, 0, 0, 0, 8), special, kHard, "this network (RFC 791, RFC 1122)"},
    {block4(10, 0, 0, 0, 8), privately, kSoft, "private use (RFC 1918)"},
    {block4(100, 64, 0, 0, 10), privately, kSoft, "shared address space (RFC 6598)"},
    {block4(127, 0, 0, 0, 8), loopback, kSoft, "loopback (RFC 1122)"},
    {block4(169, 254, 0, 0, 16), link_local, kSoft, "link local (RFC 3927)"},
    {block4(172, 16, 0, 0, 12), privately, kSoft, "private use (RFC 1918)"},
    {block4(192, 0, 0, 0, 24), special, kSoft, "IETF protocol assignments (RFC 6890)"},
    {block4(192, 0, 2, 0, 24), special, kSoft, "documentation (RFC 5737)"},
    {block4(192, 31, 196, 0, 24), special, kSoft, "AS112 (RFC 7535)"},
    {block4(192, 52, 193, 0, 24), special, kSoft, "AMT (RFC 7450)"},
    {block4(192, 88, 99, 0, 24), special, kSoft, "deprecated 6to4 relays (RFC 7526)"},
    {block4(192, 168, 0, 0, 16), privately, kSoft, "private use (RFC 1918)"},
    {block4(192, 175, 48, 0, 24), special, kSoft, "AS112 (RFC 7534)"},
    {block4(198, 18, 0, 0, 15), special, kSoft, "benchmarking (RFC 2544)"},
    {block4(198, 51, 100, 0, 24), special, kSoft, "documentation (RFC 5737)"},
    {block4(203, 0, 113, 0, 24), special, kSoft, "documentation (RFC 5737)"},
    {block4(224, 0, 0, 0, 4), multicast, kHard, "multicast (RFC 5771)"},
    {block4(240, 0, 0, 0, 4), special, kHard, "reserved and limited broadcast (RFC 1112, RFC 919)"},

    // IPv6: embeddings of IPv4 first (RFC 4291 2.5.5.1, 6052, 3056, 4380): they lead somewhere that the IPv6 address
    // does not say, so they are hard. nat64_prefixes of the operator make exceptions.
    {block6({0, 0, 0, 0, 0, 0, 0, 1}, 128), loopback, kSoft, "loopback (RFC 4291)"},
    {block6({0, 0, 0, 0, 0, 0, 0, 0}, 128), special, kHard, "unspecified (RFC 4291)"},
    {block6({0, 0, 0, 0, 0, 0, 0, 0}, 96), special, kHard, "IPv4-compatible (RFC 4291 2.5.5.1)"},
    {block6({0, 0, 0, 0, 0xffff, 0, 0, 0}, 96), special, kHard, "IPv4-translated (RFC 2765)"},
    {block6({0x0064, 0xff9b}, 96), special, kHard, "NAT64 well-known prefix (RFC 6052)"},
    {block6({0x0064, 0xff9b, 1}, 48), special, kHard, "NAT64 local use (RFC 8215)"},
    {block6({0x2002}, 16), special, kHard, "6to4 (RFC 3056)"},
    {block6({0x2001, 0}, 32), special, kHard, "Teredo (RFC 4380)"},
    // IANA IPv6 Special-Purpose Address Registry.
    {block6({0x0100}, 64), special, kSoft, "discard only (RFC 6666)"},
    {block6({0x0100, 0, 0, 1}, 64), special, kSoft, "dummy prefix (RFC 9780)"},
    {block6({0x2001, 0}, 23), special, kSoft, "IETF protocol assignments (RFC 2928)"},
    {block6({0x2001, 0x0db8}, 32), special, kSoft, "documentation (RFC 3849)"},
    {block6({0x2620, 0x004f, 0x8000}, 48), special, kSoft, "AS112 (RFC 7534)"},
    {block6({0x3ffe}, 16), special, kSoft, "returned 6bone space (RFC 3701)"},
    {block6({0x3fff}, 20), special, kSoft, "documentation (RFC 9637)"},
    {block6({0x5f00}, 16), special, kSoft, "segment routing (RFC 9602)"},
    {block6({0xfc00}, 7), privately, kSoft, "unique local (RFC 4193)"},
    {block6({0xfe80}, 10), link_local, kSoft, "link local (RFC 4291)"},
    {block6({0xfec0}, 10), special, kSoft, "deprecated site local (RFC 3879)"},
    {block6({0xff00}, 8), multicast, kHard, "multicast (RFC 4291)"},
});

// IANA assigns global unicast addresses from this block only; the rest of the space is reserved.
constexpr net::Cidr kGlobalUnicast = block6({0x2000}, 3);

// ISATAP interface identifiers, 0000:5efe and 0200:5efe before an IPv4 address, below any prefix (RFC 5214 6.1).
bool is_isatap(const net::IpAddress& address) {
  const auto& bytes = address.bytes();
  return !address.is_v4() && (bytes[8] == 0x00 || bytes[8] == 0x02) && bytes[9] == 0x00 && bytes[10] == 0x5e &&
         bytes[11] == 0xfe;
}

constexpr std::array<std::string_view, kAddressClassCount> kClassNames = {
    "@public",    "@private", "@lan",  "@loopback",  "@link-local", "@metadata",
    "@multicast", "@special", "@host", "@sandboxes", "@any",
};

bool is_among(const net::IpAddress& address, std::span<const net::IpAddress> addresses) {
  return std::ranges::find(addresses, address) != addresses.end();
}

bool is_directed_broadcast(const net::Cidr& prefix, const net::IpAddress& address) {
  // RFC 3021: a /31 has no broadcast address.
  constexpr unsigned kLongestWithBroadcast = 30;
  return prefix.is_v4() && prefix.length() <= kLongestWithBroadcast && address == prefix.last();
}

// A translator prefix that the operator listed is an ordinary way to the IPv4 address inside, which is judged as well.
Standing outer_standing(const net::IpAddress& address, std::span<const net::Cidr> nat64_prefixes) {
  for (const net::Cidr& prefix : nat64_prefixes) {
    if (prefix.contains(address)) {
      if (!nat64_inner(prefix, address)) return {.classes = {special}, .hard = true};
      return {.classes = {publicly}, .hard = false};
    }
  }
  return static_standing(address);
}

}  // namespace

std::string_view name_of(AddressClass address_class) {
  return kClassNames[static_cast<std::size_t>(address_class)];
}

std::optional<AddressClass> address_class_of(std::string_view text) {
  const auto* const found = std::ranges::find(kClassNames, text);
  if (found == kClassNames.end()) return std::nullopt;
  return static_cast<AddressClass>(found - kClassNames.begin());
}

Standing static_standing(const net::IpAddress& address) {
  for (const AddressBlock& block : kBlocks) {
    if (!block.cidr.contains(address)) continue;
    Standing standing{.classes = {block.address_class}, .hard = block.hard};
    if (is_isatap(address)) standing.hard = true;
    // The metadata endpoints keep the class of the block around them, so that a lifted one is judged by it.
    if (block.address_class == metadata) {
      if (const auto around = soft_range_around(net::Cidr::single(address))) standing.classes.add(*around);
    }
    return standing;
  }
  if (is_isatap(address)) return {.classes = {special}, .hard = true};
  if (address.is_v4() || kGlobalUnicast.contains(address)) return {.classes = {publicly}, .hard = false};
  return {.classes = {special}, .hard = true};
}

Standing standing_of(const net::IpAddress& address, const Surroundings& around) {
  Standing standing = outer_standing(address, around.nat64_prefixes);
  const HostFacts& facts = around.facts;
  for (const net::Cidr& prefix : facts.lan) {
    if (prefix.contains(address)) standing.classes.add(lan);
    if (is_directed_broadcast(prefix, address)) standing.hard = true;
  }
  if (is_among(address, facts.host) || is_among(address, around.self_addresses)) {
    standing.classes.add(host);
  }
  for (const net::Cidr& subnet : facts.sandboxes) {
    if (!subnet.contains(address)) continue;
    standing.classes.add(sandboxes);
    standing.hard = true;
  }
  const bool elsewhere = standing.classes.has(lan) || standing.classes.has(host) || standing.hard;
  if (elsewhere) standing.classes.remove(publicly);
  if (standing.hard && is_among(address, around.lifted)) standing.hard = false;
  if (standing.classes.empty()) standing.classes.add(special);
  return standing;
}

std::optional<net::IpAddress> nat64_inner(const net::Cidr& prefix, const net::IpAddress& address) {
  if (prefix.is_v4() || !prefix.contains(address)) return std::nullopt;
  const unsigned length = prefix.length();
  if (length != 32 && length != 40 && length != 48 && length != 56 && length != 64 && length != 96) return std::nullopt;
  const auto& bytes = address.bytes();
  constexpr std::size_t kUOctet = 8;
  if (length != 96 && bytes[kUOctet] != 0) return std::nullopt;
  net::IpAddress::V4 inner{};
  std::size_t at = length / 8;
  for (std::uint8_t& octet : inner) {
    if (at == kUOctet && length != 96) ++at;
    octet = bytes[at++];
  }
  return net::IpAddress::v4(inner);
}

std::optional<AddressClass> soft_range_around(const net::Cidr& cidr) {
  for (const AddressBlock& block : kBlocks) {
    if (!block.hard && block.cidr.contains(cidr)) return block.address_class;
  }
  return std::nullopt;
}

std::span<const AddressBlock> address_blocks() {
  return kBlocks;
}

}  // namespace weir::policy
