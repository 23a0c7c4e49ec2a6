// What a prefix of a stream tells about the protocol it starts.
#pragma once

#include <cstdint>

namespace weir::wire {

enum class Look : std::uint8_t { need_more, yes, no };

}  // namespace weir::wire
