#include "wire/tar_writer.h"

#include <numeric>

#include "base/error.h"

namespace weir::wire {
namespace {

struct Field {
  std::size_t offset;
  std::size_t size;
};
constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kUid{108, 8};
constexpr Field kGid{116, 8};
constexpr Field kSize{124, 12};
constexpr Field kTime{136, 12};
constexpr Field kChecksum{148, 8};
constexpr std::size_t kType = 156;
constexpr std::size_t kMagic = 257;

// Digits up to the NUL that ends the field.
void put_octal(std::string& block, const Field& field, std::uint64_t number) {
  for (std::size_t i = field.size - 1; i-- > 0; number >>= 3)
    block[field.offset + i] = static_cast<char>('0' + (number & 7));
}

void put_base256(std::string& block, const Field& field, std::uint64_t number) {
  for (std::size_t i = field.size; i-- > 0; number >>= 8) block[field.offset + i] = static_cast<char>(number & 255);
  block[field.offset] = static_cast<char>(0x80);
}

}  // namespace

std::string tar_file_header(std::string_view name, std::uint64_t size) {
  WEIR_ASSERT(name.size() < kName.size);
  constexpr std::uint64_t kFirstTooLarge = std::uint64_t{1} << 33;
  std::string block(kTarBlock, '\0');
  block.replace(kName.offset, name.size(), name);
  put_octal(block, kMode, 0600);
  put_octal(block, kUid, 0);
  put_octal(block, kGid, 0);
  put_octal(block, kTime, 0);
  size < kFirstTooLarge ? put_octal(block, kSize, size) : put_base256(block, kSize, size);
  block[kType] = '0';
  block.replace(kMagic, 8,
                std::string_view("ustar\0"
                                 "00",
                                 8));
  block.replace(kChecksum.offset, kChecksum.size, kChecksum.size, ' ');
  const auto sum = std::accumulate(block.begin(), block.end(), std::uint64_t{0},
                                   [](std::uint64_t total, char c) { return total + static_cast<unsigned char>(c); });
  put_octal(block, {kChecksum.offset, kChecksum.size - 1}, sum);
  block[kChecksum.offset + 6] = '\0';
  return block;
}

std::string tar_padding(std::uint64_t size) {
  return std::string((kTarBlock - size % kTarBlock) % kTarBlock, '\0');
}

std::string tar_end() {
  return std::string(2 * kTarBlock, '\0');
}

}  // namespace weir::wire
