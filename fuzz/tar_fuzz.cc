// A tar archive of a stranger: read to its end or refused. What comes out obeys the limits.
#include <algorithm>
#include <array>
#include <vector>

#include "wire/tar.h"
#include "wire/tar_writer.h"

namespace {

using namespace weir;

class Memory : public wire::ByteStream {
 public:
  explicit Memory(Bytes bytes) : bytes_(bytes) {}
  Result<std::size_t> read(MutableBytes into) override {
    const std::size_t count = std::min(into.size(), bytes_.size());
    std::copy_n(bytes_.begin(), count, into.begin());
    bytes_ = bytes_.subspan(count);
    return count;
  }

 private:
  Bytes bytes_;
};

// Mutations would never get a checksum right.
void mend_checksum(MutableBytes block) {
  unsigned sum = 8 * ' ';
  for (std::size_t i = 0; i < block.size(); ++i) sum += i >= 148 && i < 156 ? 0u : block[i];
  for (std::size_t i = 0; i < 6; ++i) block[148 + i] = static_cast<std::uint8_t>('0' + (sum >> (15 - 3 * i) & 7));
  block[154] = 0;
  block[155] = ' ';
}

// What was read is written so that it is read as the same.
void check_round_trip(const wire::TarEntry& entry) {
  const std::string headers = wire::tar_headers(entry);
  Memory memory(as_bytes(headers));
  wire::TarReader reader(memory);
  const auto again = reader.next();
  WEIR_ASSERT(again && *again);
  const wire::TarEntry& read = **again;
  WEIR_ASSERT(read.type == entry.type && read.path == entry.path && read.size == entry.size);
  WEIR_ASSERT(read.link == (entry.type == wire::TarEntry::Type::file ? "" : entry.link));
  WEIR_ASSERT(read.mode == entry.mode && read.uid == entry.uid && read.gid == entry.gid && read.mtime == entry.mtime);
  WEIR_ASSERT(read.attributes == entry.attributes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> bytes(data, data + size);
  for (std::size_t at = 0; at + 512 <= bytes.size(); at += 512) {
    const MutableBytes block = MutableBytes(bytes).subspan(at, 512);
    if (as_text(block.subspan(257, 5)) == "ustar") mend_checksum(block);
  }
  Memory memory(bytes);
  wire::TarReader reader(memory);
  std::array<std::uint8_t, 4096> buffer;
  while (true) {
    const auto entry = reader.next();
    if (!entry || !*entry) return 0;
    WEIR_ASSERT((*entry)->path.size() <= wire::kMaxTarPath && !(*entry)->path.starts_with('/'));
    WEIR_ASSERT(("/" + (*entry)->path + "/").find("/../") == std::string::npos);
    WEIR_ASSERT((*entry)->mode <= 07777);
    check_round_trip(**entry);
    std::uint64_t content = 0;
    while (true) {
      const auto got = reader.read(buffer);
      if (!got) return 0;
      if (*got == 0) break;
      content += *got;
    }
    WEIR_ASSERT(content == (*entry)->size);
  }
}
