// What the supervisor reads from a gateway that may be hostile: decoding never crashes, and whatever it accepts encodes
// to the very same bytes.
#include <cstdlib>

#include "control/batch.h"
#include "control/gateway_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  const Bytes input(data, size);
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  if (const auto message = control::decode<control::FromGateway>(input)) {
    const Bytes again = control::encode(*message, buffer);
    if (as_text(again) != as_text(input)) std::abort();
  }
  if (const auto message = control::decode<control::ToGateway>(input)) {
    const Bytes again = control::encode(*message, buffer);
    if (as_text(again) != as_text(input)) std::abort();
  }
  control::Batch batch;
  for (Bytes rest = input; !rest.empty() && !batch.full();) {
    const auto message = control::next_message<control::FromGateway>(rest);
    if (!message) break;
    batch.add(*message);
    if (as_text(batch.bytes()) != as_text(input.first(input.size() - rest.size()))) std::abort();
  }
  return 0;
}
