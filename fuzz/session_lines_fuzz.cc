// A line on the socket of a session, and a line of its answer: what is read is written back the same.
#include "base/bytes.h"
#include "base/error.h"
#include "wire/session_reply.h"
#include "wire/session_request.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  const auto line = as_text({data, size});
  if (const auto request = wire::parse_session_request(line)) {
    const std::string written = wire::session_request_line(*request);
    const auto again = wire::parse_session_request(std::string_view(written).substr(0, written.size() - 1));
    WEIR_ASSERT(again && wire::session_request_line(*again) == written);
  }
  if (const auto reply = wire::parse_session_reply(line)) {
    const std::string written = wire::session_reply_line(*reply);
    const auto again = wire::parse_session_reply(std::string_view(written).substr(0, written.size() - 1));
    WEIR_ASSERT(again && wire::session_reply_line(*again) == written);
  }
  static_cast<void>(wire::parse_commit(line));
  return 0;
}
