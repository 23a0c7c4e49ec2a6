// Addresses that stand for names, where everything goes through a proxy of the user's own and no name is asked in the
// DNS: the guest is given one, and what it connects to is dialled by the name.
#pragma once

#include <optional>

#include "net/ip_address.h"
#include "policy/compiled/name_book.h"

namespace weir::policy {

// RFC 2544 (benchmarking: never a real destination), and a prefix of unique local addresses beside that of the
// sandboxes themselves (RFC 4193).
inline constexpr net::Cidr kStandIns4 = net::Cidr::of(net::IpAddress::v4({198, 18, 0, 0}), 15);
inline constexpr net::Cidr kStandIns6 = net::Cidr::of(net::IpAddress::v6({0xfd, 0x77, 0x65, 0x69, 0x72, 0x73}), 64);

constexpr bool is_stand_in(const net::IpAddress& address) {
  return kStandIns4.contains(address) || kStandIns6.contains(address);
}

enum class Family : std::uint8_t { v4, v6 };

// Hands them out. What stands for what is in the name book alone.
class StandIns {
 public:
  // The one that the book remembers for the name, or else one that it remembers for nobody. All of them have had their
  // turn before one stands for another name.
  net::IpAddress of(const NameBook& book, const net::DomainName& name, Family family);

 private:
  std::uint32_t last_ = 0;
};

}  // namespace weir::policy
