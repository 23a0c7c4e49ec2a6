// Constants of the message format that the DNS files share. Inside the room only.
#pragma once

#include <cstdint>

namespace weir::wire::dns {

inline constexpr std::size_t kHeaderSize = 12;
inline constexpr std::uint16_t kClassIn = 1;
inline constexpr std::uint16_t kPointerToQuestion = 0xc000 | kHeaderSize;

namespace flag {  // the second word of the header, RFC 1035 4.1.1, RFC 4035 3.1.6
inline constexpr std::uint16_t kResponse = 0x8000;
inline constexpr std::uint16_t kTruncated = 0x0200;
inline constexpr std::uint16_t kRecursionDesired = 0x0100;
inline constexpr std::uint16_t kRecursionAvailable = 0x0080;
inline constexpr std::uint16_t kCheckingDisabled = 0x0010;
inline constexpr unsigned kOpcodeShift = 11;
}  // namespace flag

}  // namespace weir::wire::dns
