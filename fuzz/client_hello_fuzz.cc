// Any bytes as a stream that may start with a ClientHello: the way it is cut into chunks must not matter.
#include "base/error.h"
#include "wire/client_hello.h"

using namespace weir;
using namespace weir::wire;

namespace {

void feed_in_chunks(ClientHelloReader& reader, Bytes stream, std::size_t chunk) {
  while (!stream.empty() && reader.state() == ClientHelloReader::State::need_more) {
    const std::size_t size = std::min(chunk, stream.size());
    reader.feed(stream.first(size));
    stream = stream.subspan(size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes stream(data + 1, size - 1);
  ClientHelloReader whole, slow, chunked;
  whole.feed(stream);
  feed_in_chunks(slow, stream, 1);
  feed_in_chunks(chunked, stream, static_cast<std::size_t>(data[0]) + 1);
  for (const ClientHelloReader* other : {&slow, &chunked}) {
    WEIR_ASSERT(other->state() == whole.state());
    WEIR_ASSERT(other->hello().sni == whole.hello().sni);
    WEIR_ASSERT(other->hello().name == whole.hello().name);
    WEIR_ASSERT(other->hello().has_ech == whole.hello().has_ech);
  }
  WEIR_ASSERT((whole.hello().sni == Sni::host_name) == whole.hello().name.has_value());
  const Look look = looks_like_tls(stream);
  WEIR_ASSERT((look == Look::no) == (whole.state() == ClientHelloReader::State::not_tls));
  return 0;
}
