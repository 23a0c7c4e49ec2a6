// Domain names as DNS messages carry them: labels of arbitrary bytes.
//
// Not every such name is a host name: a label may hold a dot, a space or a NUL. host() is the only way from one to the
// other, and it never joins or splits labels.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "net/domain_name.h"

namespace weir::wire::dns {

// Uncompressed wire form (length bytes and the final zero included), in the case it was read in. Starts as the root.
class Name {
 public:
  static constexpr std::size_t kMaxSize = 255;  // RFC 1035 2.3.4

  Name() = default;
  static Name of(const net::DomainName& name);

  Bytes bytes() const { return Bytes(bytes_).first(size_); }
  bool is_root() const { return size_ == 1; }

  // False, and nothing changed, if the name would grow beyond kMaxSize or the label is not 1-63 bytes.
  bool append_label(Bytes label);

  // Letters of either case are equal (RFC 4343).
  bool same_name(const Name& other) const;
  // Every byte is equal: what 0x20 spoofing protection compares.
  bool same_bytes(const Name& other) const;

  // nullopt: the root, or not what net::DomainName takes for a host name.
  std::optional<net::DomainName> host() const;

  // The same name with the case of letter number i (counted in bytes of the wire form) taken from bit i of `random`.
  Name with_random_case(std::span<const std::uint8_t, 32> random) const;

 private:
  std::array<std::uint8_t, kMaxSize> bytes_{};
  std::size_t size_ = 1;
};

enum class Compression : std::uint8_t { allowed, forbidden };

struct ReadName {
  Name name;
  std::size_t next = 0;  // the offset behind the name as it stands in the message
};

// Reads the name at `offset` of a whole message. Pointers lead strictly backwards, each before everything that was
// read so far, and never into the header: so the walk ends. nullopt for anything else.
std::optional<ReadName> read_name(Bytes message, std::size_t offset, Compression compression);

// Whether `name` lies in the reverse zone of addresses that mean nothing outside (RFC 6303, RFC 7793, RFC 6761):
// asking such a name upstream would tell about, and answer from, the host's own network.
bool is_private_reverse_zone(const net::DomainName& name);

}  // namespace weir::wire::dns
