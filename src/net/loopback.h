// Addresses that never leave their network namespace.
#pragma once

#include "net/ip_address.h"

namespace weir::net {

inline constexpr IpAddress kLoopback4 = IpAddress::v4({127, 0, 0, 1});
inline constexpr IpAddress kLoopback6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

// 127.0.0.0/8 (RFC 1122 3.2.1.3) and ::1 (RFC 4291 2.5.3).
constexpr bool is_loopback(const IpAddress& address) {
  return address.is_v4() ? address.v4_octets()[0] == 127 : address == kLoopback6;
}

}  // namespace weir::net
