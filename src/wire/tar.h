// A strict reader of tar archives: ustar, pax and GNU headers, as GNU tar, busybox and container tools write them.
//
// What two readers could read differently is an error and never repaired: names that climb or are absolute, numbers
// that do not fit, headers without a right checksum, records that nobody defined, anything after the end. Errors name
// the entry, or the byte at which the archive stops making sense. Memory is bounded by the named limits.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "wire/byte_stream.h"

namespace weir::wire {

// PATH_MAX without its NUL, NAME_MAX, and folders in folders: an order of magnitude above what real trees have.
inline constexpr std::size_t kMaxTarPath = 4095;
inline constexpr std::size_t kMaxTarName = 255;
inline constexpr std::size_t kMaxTarDepth = 256;
// Of one pax header, with the attributes in it. The kernel takes 64 KiB per attribute.
inline constexpr std::size_t kMaxPaxBytes = 1024 * 1024;

struct TarEntry {
  enum class Type : std::uint8_t { file, hard_link, symbolic_link, character_device, block_device, folder, fifo };

  Type type = Type::file;
  // Relative, without "." and "..", without a slash at either end. Empty: the root of the tree.
  std::string path;
  // Of a hard link: a path as above. Of a symbolic link: its target, as it stands.
  std::string link;
  std::uint32_t mode = 0;  // 07777 at most
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t mtime = 0;                                       // seconds since 1970, not negative
  std::uint64_t size = 0;                                       // of the content; 0 for all but files
  std::vector<std::pair<std::string, std::string>> attributes;  // extended ones
};

// A tree as one entry after the other: what makes files of them does not know where they come from.
class EntrySource : public ByteStream {
 public:
  // The next entry, skipping what was not read of this one's content. Nothing: there is none more.
  virtual Result<std::optional<TarEntry>> next() = 0;
  // Content of the current entry. 0: all of it was read.
  Result<std::size_t> read(MutableBytes into) override = 0;
};

class TarReader : public EntrySource {
 public:
  // `stream` outlives the reader.
  explicit TarReader(ByteStream& stream) : stream_(stream) {}

  // Nothing: the archive ended, properly, and so did the stream.
  Result<std::optional<TarEntry>> next() override;
  Result<std::size_t> read(MutableBytes into) override;

  // Bytes of the archive read so far: after next(), where the content begins.
  std::uint64_t offset() const { return offset_; }

 private:
  using Block = std::array<std::uint8_t, 512>;
  struct Overrides;

  Result<bool> read_block(Block& block);
  Result<> skip_content();
  Result<> expect_nothing_more();
  Result<std::string> read_whole(std::uint64_t size, std::size_t limit, const char* what);
  Result<TarEntry> entry_of(const Block& block, Overrides& overrides);

  ByteStream& stream_;
  std::uint64_t offset_ = 0;
  std::uint64_t left_ = 0;     // of the content
  std::uint64_t padding_ = 0;  // after it
};

// A path as TarEntry::path has it: "./" in front and "/" at the end are left out, everything else that is not plain is
// an error.
Result<std::string> canonical_tar_path(std::string_view text);

// What messages call such a path.
std::string quoted_path(std::string_view path);

}  // namespace weir::wire
