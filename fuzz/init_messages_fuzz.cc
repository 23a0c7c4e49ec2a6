// Any bytes as a message of init, or to it. What is accepted must be written back byte for byte.
#include "control/init_messages.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace {

using namespace weir;

template <class Variant>
void check(Bytes bytes) {
  const auto message = control::decode<Variant>(bytes);
  if (!message) return;
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  WEIR_ASSERT(std::ranges::equal(control::encode(*message, buffer), bytes));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check<control::FromInit>({data, size});
  check<control::ToInit>({data, size});
  return 0;
}
