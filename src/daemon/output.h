// What commands print, as NDJSON: one RunEvent (docs/openapi.yaml) a line.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/exchange.h"
#include "daemon/utf8.h"
#include "wire/session_reply.h"

namespace weir::daemon {

// The members of how a process ended, without the closing brace.
std::string object_without_end(const wire::ExitedProcess& exited);

// What was collected of a command's two streams. `memory` holds the texts.
struct CollectedOutput {
  std::array<std::string, 2> texts = {};
  bool truncated = false;
  std::shared_ptr<Budget::Share> memory;
};
// `json` (an object without its end) with it, whose memory is held until it is sent. What there is no memory for is cut
// off the texts: JSON can be seven times as long as they are.
Reply collected_reply(const std::string& json, CollectedOutput output);

// Each is false where the client takes nothing any more.
class EventStream {
 public:
  explicit EventStream(Exchange& exchange) : exchange_(exchange) {}

  // With the head of the answer. 0: it was started before.
  Task<bool> begin(std::uint32_t pid);
  Task<bool> out(std::string_view bytes) { return chunk(0, bytes); }
  Task<bool> err(std::string_view bytes) { return chunk(1, bytes); }
  // Each ends the answer.
  Task<bool> end(wire::ExitedProcess exited);
  Task<bool> fail(wire::Refusal refusal);

 private:
  Task<bool> chunk(std::size_t which, std::string_view bytes);
  Task<bool> last(std::string line);

  Exchange& exchange_;
  // The beginning of a character whose end has not come.
  std::array<std::string, 2> unfinished_;
};

}  // namespace weir::daemon
