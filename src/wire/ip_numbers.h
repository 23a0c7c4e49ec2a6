// Numbers that reading and writing packets share. Inside the room only.
#pragma once

#include <cstdint>

namespace weir::wire {

// IANA "Assigned Internet Protocol Numbers".
namespace ip_number {
inline constexpr std::uint8_t kHopByHop = 0;
inline constexpr std::uint8_t kIcmp = 1;
inline constexpr std::uint8_t kIgmp = 2;
inline constexpr std::uint8_t kTcp = 6;
inline constexpr std::uint8_t kUdp = 17;
inline constexpr std::uint8_t kRouting = 43;
inline constexpr std::uint8_t kFragment = 44;
inline constexpr std::uint8_t kIcmp6 = 58;
inline constexpr std::uint8_t kDestinationOptions = 60;
}  // namespace ip_number

namespace icmp_type {  // RFC 792
inline constexpr std::uint8_t kEchoReply = 0;
inline constexpr std::uint8_t kUnreachable = 3;
inline constexpr std::uint8_t kSourceQuench = 4;
inline constexpr std::uint8_t kRedirect = 5;
inline constexpr std::uint8_t kEchoRequest = 8;
inline constexpr std::uint8_t kTimeExceeded = 11;
inline constexpr std::uint8_t kParameterProblem = 12;
}  // namespace icmp_type

namespace icmp6_type {  // RFC 4443
inline constexpr std::uint8_t kUnreachable = 1;
inline constexpr std::uint8_t kFirstInformational = 128;
inline constexpr std::uint8_t kEchoRequest = 128;
inline constexpr std::uint8_t kEchoReply = 129;
inline constexpr std::uint8_t kRedirect = 137;
}  // namespace icmp6_type

}  // namespace weir::wire
