// Byte spans, and a bounds-checked cursor for reading and writing network-order fields.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace weir {

using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Reads front to back. A read past the end yields nullopt and leaves the cursor where it was.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : bytes_(bytes) {}

  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }

  std::optional<std::uint8_t> u8() {
    if (remaining() < 1) return std::nullopt;
    return bytes_[offset_++];
  }
  std::optional<std::uint16_t> u16() {
    if (remaining() < 2) return std::nullopt;
    const auto value = static_cast<std::uint16_t>((bytes_[offset_] << 8) | bytes_[offset_ + 1]);
    offset_ += 2;
    return value;
  }
  std::optional<std::uint32_t> u24() {
    if (remaining() < 3) return std::nullopt;
    const auto high = static_cast<std::uint32_t>(*u8());
    return (high << 16) | *u16();
  }
  std::optional<std::uint32_t> u32() {
    if (remaining() < 4) return std::nullopt;
    const auto high = static_cast<std::uint32_t>(*u16());
    return (high << 16) | *u16();
  }
  std::optional<Bytes> take(std::size_t count) {
    if (remaining() < count) return std::nullopt;
    const Bytes taken = bytes_.subspan(offset_, count);
    offset_ += count;
    return taken;
  }

 private:
  Bytes bytes_;
  std::size_t offset_ = 0;
};

// Writes front to back into a caller's buffer. Once something did not fit, ok() is false for good and nothing more
// is written, so a codec checks once at its end.
class ByteWriter {
 public:
  explicit ByteWriter(MutableBytes bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  std::size_t size() const { return offset_; }
  Bytes written() const { return bytes_.first(offset_); }

  void u8(std::uint8_t value) {
    if (MutableBytes room = reserve(1); !room.empty()) room[0] = value;
  }
  void u16(std::uint16_t value) {
    if (MutableBytes room = reserve(2); !room.empty()) {
      room[0] = static_cast<std::uint8_t>(value >> 8);
      room[1] = static_cast<std::uint8_t>(value);
    }
  }
  void u32(std::uint32_t value) {
    u16(static_cast<std::uint16_t>(value >> 16));
    u16(static_cast<std::uint16_t>(value));
  }
  void bytes(Bytes source) {
    if (source.empty()) return;
    if (MutableBytes room = reserve(source.size()); !room.empty())
      std::memcpy(room.data(), source.data(), source.size());
  }
  // Overwrites two bytes that were written before, e.g. a length that is known only now.
  void patch_u16(std::size_t offset, std::uint16_t value) {
    if (offset + 2 > offset_) {
      ok_ = false;
      return;
    }
    bytes_[offset] = static_cast<std::uint8_t>(value >> 8);
    bytes_[offset + 1] = static_cast<std::uint8_t>(value);
  }

 private:
  MutableBytes reserve(std::size_t count) {
    if (!ok_ || bytes_.size() - offset_ < count) {
      ok_ = false;
      return {};
    }
    offset_ += count;
    return bytes_.subspan(offset_ - count, count);
  }

  MutableBytes bytes_;
  std::size_t offset_ = 0;
  bool ok_ = true;
};

}  // namespace weir
