// What a request is answered.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/budget.h"
#include "wire/session_error.h"

namespace weir::daemon {

struct Reply {
  unsigned status = 200;
  std::string type = "application/json";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::shared_ptr<Budget::Share> memory = {};  // holds that of a large body until it is sent
  // streamed: all of it has been sent, and nothing here but the status says something.
  enum class Form : std::uint8_t { whole, streamed } form = Form::whole;
};

inline Reply json_reply(unsigned status, std::string body) {
  return {.status = status, .body = std::move(body)};
}
inline Reply no_content() {
  return {.status = 204, .type = ""};
}
inline Reply streamed(unsigned status) {
  return {.status = status, .form = Reply::Form::streamed};
}

// The status of docs/openapi.yaml.
unsigned status_of(wire::ErrorCode code);
// The envelope; Retry-After where coming back makes sense.
Reply error_reply(const wire::Refusal& refusal);

std::string_view reason_phrase(unsigned status);

}  // namespace weir::daemon
