// Any bytes as what a SOCKS client says: each prefix of a message is incomplete, and what is complete stays what it is.
#include "base/error.h"
#include "wire/socks5.h"

namespace {

using namespace weir;
using namespace weir::wire::socks5;

void greeting(Bytes bytes) {
  const Greeting whole = parse_greeting(bytes);
  if (whole.progress != Progress::complete) return;
  WEIR_ASSERT(whole.size >= 3 && whole.size <= bytes.size());
  for (std::size_t length = 0; length < whole.size; ++length) {
    WEIR_ASSERT(parse_greeting(bytes.first(length)).progress == Progress::need_more);
  }
}

void request(Bytes bytes) {
  const Request whole = parse_request(bytes);
  if (whole.progress != Progress::complete) return;
  WEIR_ASSERT(whole.size >= 10 || whole.destination.name() != nullptr || whole.destination.address() != nullptr);
  WEIR_ASSERT(whole.size <= bytes.size() && whole.destination.port && *whole.destination.port != 0);
  for (std::size_t length = 0; length < whole.size; ++length) {
    WEIR_ASSERT(parse_request(bytes.first(length)).progress == Progress::need_more);
  }
  // Said as text it means the same to the parser that HTTP uses.
  WEIR_ASSERT(wire::parse_authority(text_of(whole.destination)) == whole.destination);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(data, size);
  greeting(bytes);
  request(bytes);
  return 0;
}
