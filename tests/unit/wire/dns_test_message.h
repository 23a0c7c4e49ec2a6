// Writes DNS messages for tests: well-formed ones, and with raw() any others.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace weir::wire::dns {

inline constexpr std::uint16_t kResponseFlags = 0x8180;

class Message {
 public:
  explicit Message(std::uint16_t id, std::uint16_t flags) { u16(id).u16(flags).u16(0).u16(0).u16(0).u16(0); }

  Message& u8(unsigned value) {
    bytes_.push_back(static_cast<std::uint8_t>(value));
    return *this;
  }
  Message& u16(unsigned value) { return u8(value >> 8).u8(value & 0xff); }
  Message& u32(std::uint32_t value) { return u16(value >> 16).u16(value & 0xffff); }
  Message& raw(Bytes bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Message& raw(std::string_view text) { return raw(as_bytes(text)); }

  // "a.example": labels and the final zero.
  static std::string wire(std::string_view name) {
    std::string out;
    while (!name.empty()) {
      const std::size_t dot = std::min(name.find('.'), name.size());
      out += static_cast<char>(dot);
      out += name.substr(0, dot);
      name.remove_prefix(std::min(dot + 1, name.size()));
    }
    return out + std::string(1, '\0');
  }

  Message& question(std::string_view wire_name, unsigned type, unsigned question_class = 1) {
    return count(4).raw(wire_name).u16(type).u16(question_class);
  }
  Message& answer(std::string_view wire_owner, unsigned type, std::uint32_t ttl, std::string_view rdata,
                  unsigned record_class = 1) {
    count(6).raw(wire_owner).u16(type).u16(record_class).u32(ttl);
    return u16(static_cast<unsigned>(rdata.size())).raw(rdata);
  }
  Message& opt(unsigned size, std::string_view options = "", unsigned version = 0, unsigned flags = 0) {
    count(10).u8(0).u16(41).u16(size).u8(0).u8(version).u16(flags);
    return u16(static_cast<unsigned>(options.size())).raw(options);
  }
  // Adds one to the count at `offset` of the header.
  Message& count(std::size_t offset) {
    if (++bytes_[offset + 1] == 0) ++bytes_[offset];
    return *this;
  }

  std::size_t size() const { return bytes_.size(); }
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<std::uint8_t> bytes_;
};

inline std::string pointer(std::size_t offset) {
  return {static_cast<char>(0xc0 | (offset >> 8)), static_cast<char>(offset & 0xff)};
}

}  // namespace weir::wire::dns
