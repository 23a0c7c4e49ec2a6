// Lines of a record are total: any bytes are an event or an error of one printable line, and an event that was read is
// written back to a line that reads the same. What is shown of it is one printable line as well.
#include <cstdlib>

#include "audit/event_line.h"
#include "audit/event_text.h"
#include "audit/tally.h"
#include "base/bytes.h"

namespace {

using weir::audit::RecordedEvent;

std::string written(const RecordedEvent& recorded) {
  weir::audit::LineWriter writer(
      {.sandbox = recorded.sandbox, .policy = recorded.policy, .generation = recorded.generation});
  std::string line;
  writer.append(line, recorded.event, recorded.sequence, {.seconds = 0, .microseconds = 0});
  line.pop_back();
  return line;
}

void check_printable(std::string_view text) {
  for (const char c : text) {
    if ((c >= 0 && c < 0x20) || c == 0x7f) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = weir::audit::parse_line(weir::as_text({data, size}));
  if (!read) {
    check_printable(read.error().what());
    return 0;
  }
  const std::string again = written(*read);
  const auto second = weir::audit::parse_line(again);
  if (!second || written(*second) != again) std::abort();
  check_printable(weir::audit::event_text(*read));
  weir::audit::Tally tally;
  tally.add(read->event, read->sandbox);
  std::string text = weir::audit::tally_text(tally);
  std::erase(text, '\n');
  check_printable(text);
  return 0;
}
