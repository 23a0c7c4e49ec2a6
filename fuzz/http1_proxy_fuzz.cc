// Any bytes as a request to the proxy and as a response from an origin: how they are cut does not matter, and what is
// sent on says to the next parser what it said to this one.
#include <string>

#include "base/error.h"
#include "wire/http1.h"
#include "wire/http1_forward.h"
#include "wire/http1_response.h"

namespace {

using namespace weir;
using namespace weir::wire;

void request(Bytes bytes) {
  RequestStream stream;
  if (stream.feed(bytes).event != RequestStream::Event::head) return;
  const RequestHead head = stream.head();
  if (head.form != TargetForm::absolute_http) return;
  const std::string sent = forward_request(as_text(stream.approve()), head);
  RequestStream origin;
  const auto step = origin.feed(as_bytes(sent));
  WEIR_ASSERT(step.event == RequestStream::Event::head && step.consumed == sent.size());
  const RequestHead& seen = origin.head();
  WEIR_ASSERT(seen.form == TargetForm::origin || seen.form == TargetForm::asterisk);
  WEIR_ASSERT(seen.method == head.method && seen.authority.host == head.authority.host);
  WEIR_ASSERT(seen.authority.port.value_or(80) == head.authority.port.value_or(80));
  WEIR_ASSERT(seen.framing == head.framing && seen.body_size == head.body_size && !seen.upgrade_requested);
}

struct Heard {
  std::string passed;
  std::string heads;
  ResponseStream::Event end = ResponseStream::Event::none;
  std::size_t consumed = 0;

  bool operator==(const Heard&) const = default;
};

Heard hear(Bytes bytes, std::size_t chunk, std::string_view method) {
  ResponseStream stream(method);
  Heard heard;
  const std::size_t size = bytes.size();
  for (;;) {
    const auto step = stream.feed(bytes.first(std::min(chunk, bytes.size())));
    WEIR_ASSERT(step.pass <= step.consumed && step.consumed <= bytes.size());
    heard.passed += as_text(bytes.first(step.pass));
    bytes = bytes.subspan(step.consumed);
    heard.end = step.event;
    if (step.event == ResponseStream::Event::head) {
      const ResponseHead head = stream.head();
      const std::string sent = forward_response(stream.raw_head(), Persistence::close);
      heard.heads += sent;
      ResponseStream guest(method);
      WEIR_ASSERT(guest.feed(as_bytes(sent)).event == ResponseStream::Event::head);
      WEIR_ASSERT(guest.head().status == head.status && guest.head().framing == head.framing);
      WEIR_ASSERT(guest.head().body_size == head.body_size && guest.head().closes);
    } else if (step.event != ResponseStream::Event::none || bytes.empty()) {
      break;
    }
  }
  heard.consumed = size - bytes.size();
  return heard;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(data, size);
  request(bytes);
  for (const std::string_view method : {"GET", "HEAD"}) {
    const Heard whole = hear(bytes, size + 1, method);
    WEIR_ASSERT(hear(bytes, 1, method) == whole);
    WEIR_ASSERT(hear(bytes, 7, method) == whole);
  }
  return 0;
}
