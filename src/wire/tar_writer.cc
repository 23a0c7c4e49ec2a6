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
constexpr Field kLink{157, 100};
constexpr std::size_t kType = 156;
constexpr std::size_t kMagic = 257;

bool fits(const Field& field, std::uint64_t number) {
  return number >> (3 * (field.size - 1)) == 0;
}
// Without a NUL behind it where it fills the field.
bool fits(const Field& field, std::string_view text) {
  return text.size() <= field.size;
}

// Digits up to the NUL that ends the field.
void put(std::string& block, const Field& field, std::uint64_t number) {
  for (std::size_t i = field.size - 1; i-- > 0; number >>= 3)
    block[field.offset + i] = static_cast<char>('0' + (number & 7));
}
void put(std::string& block, const Field& field, std::string_view text) {
  block.replace(field.offset, text.size(), text);
}

// "LENGTH KEY=VALUE\n", the length counting itself (POSIX.1-2001 pax).
std::string pax_record(std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (length != rest + std::to_string(length).size()) length = rest + std::to_string(length).size();
  return std::to_string(length) + " " + std::string(key) + "=" + std::string(value) + "\n";
}

char flag_of(TarEntry::Type type) {
  return "0123456"[static_cast<std::size_t>(type)];
}

// Fields into their places; what does not fit them into `records`.
class Header {
 public:
  explicit Header(char flag) {
    block_[kType] = flag;
    put(block_, {kMagic, 8}, std::string_view("ustar\00000", 8));
  }

  template <class Value>
  Header& field(const Field& place, const char* key, const Value& value) {
    if (fits(place, value)) {
      put(block_, place, value);
    } else {
      records_ += pax_record(key, text_of(value));
      put(block_, place, std::uint64_t{0});
    }
    return *this;
  }
  void record(std::string_view key, std::string_view value) { records_ += pax_record(key, value); }

  std::string finish() {
    put(block_, kChecksum, std::string(kChecksum.size, ' '));
    const auto sum = std::accumulate(block_.begin(), block_.end(), std::uint64_t{0},
                                     [](std::uint64_t total, char c) { return total + static_cast<unsigned char>(c); });
    put(block_, {kChecksum.offset, kChecksum.size - 1}, sum);
    block_[kChecksum.offset + 6] = '\0';
    return block_;
  }
  const std::string& records() const { return records_; }

 private:
  static std::string text_of(std::uint64_t number) { return std::to_string(number); }
  static std::string text_of(const std::string& text) { return text; }

  std::string block_ = std::string(kTarBlock, '\0');
  std::string records_;
};

}  // namespace

std::string tar_headers(const TarEntry& entry) {
  WEIR_ASSERT(entry.mtime >= 0);
  Header header(flag_of(entry.type));
  std::string path = entry.path.empty() ? "./" : entry.path;
  if (entry.type == TarEntry::Type::folder && !entry.path.empty()) path += '/';
  header.field(kName, "path", path)
      .field(kMode, "mode", std::uint64_t{entry.mode & 07777})
      .field(kUid, "uid", std::uint64_t{entry.uid})
      .field(kGid, "gid", std::uint64_t{entry.gid})
      .field(kSize, "size", entry.size)
      .field(kTime, "mtime", static_cast<std::uint64_t>(entry.mtime))
      .field(kLink, "linkpath", entry.link);
  for (const auto& [name, value] : entry.attributes) header.record("SCHILY.xattr." + name, value);
  if (header.records().empty()) return header.finish();
  Header pax('x');
  const std::string& records = header.records();
  pax.field(kName, "path", std::string("PaxHeaders/entry"))
      .field(kMode, "mode", std::uint64_t{0644})
      .field(kUid, "uid", std::uint64_t{0})
      .field(kGid, "gid", std::uint64_t{0})
      .field(kSize, "size", std::uint64_t{records.size()})
      .field(kTime, "mtime", std::uint64_t{0});
  return pax.finish() + records + tar_padding(records.size()) + header.finish();
}

std::string tar_file_header(std::string_view name, std::uint64_t size) {
  TarEntry entry;
  entry.path = name;
  entry.mode = 0600;
  entry.size = size;
  return tar_headers(entry);
}

std::string tar_padding(std::uint64_t size) {
  return std::string((kTarBlock - size % kTarBlock) % kTarBlock, '\0');
}

std::string tar_end() {
  return std::string(2 * kTarBlock, '\0');
}

}  // namespace weir::wire
