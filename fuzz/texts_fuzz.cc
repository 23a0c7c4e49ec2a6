// Any bytes as a list of texts, or as a message of a file task. What is accepted must be written back byte for byte.
#include "control/texts.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "control/file_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  const Bytes bytes(data, size);
  if (const auto texts = control::decode_texts(bytes)) {
    const auto written = control::encode_texts(*texts);
    WEIR_ASSERT(written && std::ranges::equal(*written, bytes));
  }
  if (const auto message = control::decode<control::FromFileTask>(bytes)) {
    std::array<std::uint8_t, control::kMaxMessage> buffer;
    WEIR_ASSERT(std::ranges::equal(control::encode(*message, buffer), bytes));
  }
  return 0;
}
