// Any bytes as a guest's HTTP stream: the way it is cut must not matter, and nothing passes that was not approved.
#include <string>

#include "base/error.h"
#include "wire/first_flight.h"
#include "wire/http1.h"
#include "wire/http1_upgrade.h"

namespace {

using namespace weir;
using namespace weir::wire;

struct Outcome {
  std::string forwarded;
  std::string heads;
  RequestStream::Event end = RequestStream::Event::none;
  HttpFault fault{};

  bool operator==(const Outcome&) const = default;
};

Outcome walk(Bytes bytes, std::size_t chunk) {
  RequestStream stream;
  Outcome outcome;
  for (;;) {
    const auto step = stream.feed(bytes.first(std::min(chunk, bytes.size())));
    WEIR_ASSERT(step.pass <= step.consumed && step.consumed <= bytes.size());
    outcome.forwarded += as_text(bytes.first(step.pass));
    bytes = bytes.subspan(step.consumed);
    outcome.end = step.event;
    if (step.event == RequestStream::Event::head) {
      const RequestHead& head = stream.head();
      WEIR_ASSERT((head.authority.name() != nullptr) != (head.authority.address() != nullptr));
      outcome.heads += head.method + (head.upgrade_requested ? "+" : "-");
      outcome.forwarded += as_text(stream.approve());
    } else if (step.event == RequestStream::Event::paused) {
      stream.continue_http();
    } else if (step.event == RequestStream::Event::refused || bytes.empty()) {
      break;
    }
  }
  if (outcome.end == RequestStream::Event::refused) outcome.fault = stream.fault();
  return outcome;
}

void sniff(Bytes bytes, Expect expect) {
  FirstFlightSniffer whole(expect), slow(expect);
  whole.feed(bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) slow.feed(bytes.subspan(i, 1));
  WEIR_ASSERT(whole.verdict() == slow.verdict());
  // What is let pass as something else must not be HTTP to the strict parser.
  if (expect == Expect::either && whole.verdict() == FirstFlightSniffer::Verdict::opaque) {
    WEIR_ASSERT(walk(bytes, bytes.size() + 1).heads.empty());
  }
}

// A WebSocket is told in whatever pieces the answer comes, and only behind a 101.
void answer(Bytes bytes) {
  WebSocketReply whole, slow;
  whole.feed(bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) slow.feed(bytes.subspan(i, 1));
  WEIR_ASSERT(whole.look() == slow.look());
  if (whole.look() == Look::yes) WEIR_ASSERT(as_text(bytes).contains("HTTP/1.1 101"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(data, size);
  const Outcome whole = walk(bytes, size + 1);
  WEIR_ASSERT(as_text(bytes).starts_with(whole.forwarded));
  WEIR_ASSERT(walk(bytes, 1) == whole);
  WEIR_ASSERT(walk(bytes, 5) == whole);
  for (const Expect expect : {Expect::tls, Expect::http, Expect::either}) sniff(bytes, expect);
  answer(bytes);
  return 0;
}
