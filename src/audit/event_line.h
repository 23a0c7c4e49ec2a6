// Reading the lines of a record, the one way. A line holds names that a guest chose and may come from a file that
// anybody wrote: what weir does not write is an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "audit/event.h"
#include "base/error.h"

namespace weir::audit {

// One event with what every line carries (docs/events.schema.json).
struct RecordedEvent {
  std::string time;  // RFC 3339, as written
  std::string sandbox;
  std::uint64_t sequence = 0;
  std::string policy;
  std::uint64_t generation = 1;
  Event event;
};

// Bytes of a line without its newline. The writer's longest lines hold a few texts of at most 4,096 characters, each of
// up to six bytes.
inline constexpr std::size_t kMaxLine = 256u << 10;

// `line`: without its newline. Errors say what is wrong with it, not where. Strict: printable ASCII, no member twice,
// none missing, none unknown, types and spellings as the schema has them. Texts come out unescaped: they may hold
// control characters, and are for printable() before they reach a terminal.
Result<RecordedEvent> parse_line(std::string_view line);

}  // namespace weir::audit
