#include "control/texts.h"

namespace weir::control {

Result<std::vector<std::uint8_t>> encode_texts(const std::vector<std::string>& texts) {
  std::size_t size = 0;
  for (const std::string& text : texts) {
    if (text.find('\0') != std::string::npos) return fail("an argument, variable or path holds a NUL byte");
    if (text.size() >= kMaxOneText) return fail("an argument, variable or path is longer than 128 KiB");
    size += sizeof(std::uint32_t) + text.size();
    if (size > kMaxTexts) return fail("arguments and environment together are larger than 2 MiB");
  }
  std::vector<std::uint8_t> bytes(size);
  ByteWriter writer(bytes);
  for (const std::string& text : texts) {
    writer.u32(static_cast<std::uint32_t>(text.size()));
    writer.bytes(as_bytes(text));
  }
  WEIR_ASSERT(writer.ok() && writer.size() == size);
  return bytes;
}

std::optional<std::vector<std::string>> decode_texts(Bytes bytes) {
  if (bytes.size() > kMaxTexts) return std::nullopt;
  std::vector<std::string> texts;
  ByteReader reader(bytes);
  while (reader.remaining() > 0) {
    const auto size = reader.u32();
    const auto text = size && *size < kMaxOneText ? reader.take(*size) : std::nullopt;
    if (!text || as_text(*text).find('\0') != std::string_view::npos) return std::nullopt;
    texts.emplace_back(as_text(*text));
  }
  return texts;
}

}  // namespace weir::control
