#include "wire/tar.h"

#include <algorithm>
#include <limits>

#include "base/failure_line.h"

namespace weir::wire {
namespace {

using Block = std::array<std::uint8_t, 512>;

// Where the fields of a header are (POSIX.1-1988 ustar).
struct Field {
  std::size_t offset;
  std::size_t size;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12}, kMtime{136, 12},
    kChecksum{148, 8}, kLink{157, 100}, kMagic{257, 8}, kPrefix{345, 155};
constexpr std::size_t kType = 156;
constexpr std::string_view kUstar("ustar\00000", 8);
constexpr std::string_view kGnu("ustar  \0", 8);

std::string_view raw(const Block& block, Field field) {
  return as_text(Bytes(block).subspan(field.offset, field.size));
}
std::string_view text(const Block& block, Field field) {
  const std::string_view whole = raw(block, field);
  return whole.substr(0, whole.find('\0'));
}

// Octal digits with blanks before and NUL or a blank behind, or base 256 with the first bit set (GNU, for what does not
// fit). Negative numbers do not exist here. Nothing: neither.
std::optional<std::uint64_t> number(std::string_view field) {
  if (field.empty()) return std::nullopt;
  const auto first = static_cast<unsigned char>(field.front());
  std::uint64_t value = 0;
  if ((first & 0x80) != 0) {
    if (first != 0x80) return std::nullopt;  // 0xff: negative; others: more bits than any number has
    for (const char c : field.substr(1)) {
      if (value >> 56 != 0) return std::nullopt;
      value = value << 8 | static_cast<unsigned char>(c);
    }
    return value >> 63 != 0 ? std::nullopt : std::optional(value);
  }
  field.remove_prefix(std::min(field.find_first_not_of(' '), field.size()));
  const std::size_t digits = std::min(field.find_first_not_of("01234567"), field.size());
  for (const char c : field.substr(0, digits)) value = value << 3 | static_cast<std::uint64_t>(c - '0');
  if (field.find_first_not_of(std::string_view("\0 ", 2), digits) != std::string_view::npos) return std::nullopt;
  return value;  // 12 digits: 36 bits
}

std::optional<std::uint64_t> decimal(std::string_view digits) {
  if (digits.empty() || digits.size() > 18) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

bool checksum_is_right(const Block& block) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const bool own = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    sum += own ? std::uint64_t{' '} : block[i];
  }
  return number(raw(block, kChecksum)) == sum;
}

bool is_zero(Bytes bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

std::unexpected<Error> bad_entry(std::string_view path, const std::string& why, const char* remedy) {
  return std::unexpected(Error("entry " + quoted_path(path) + ": " + why).with_remedy(remedy));
}

constexpr const char* kRemake = "make the archive anew, or fetch it again: it may be damaged";
constexpr const char* kPlainTar = "make the archive with plain GNU tar or busybox tar";

}  // namespace

// What headers before the real one say about it.
struct TarReader::Overrides {
  std::optional<std::string> path;
  std::optional<std::string> link;
  std::optional<std::uint64_t> size, uid, gid, mtime;
  std::vector<std::pair<std::string, std::string>> attributes;
  std::size_t attribute_bytes = 0;

  bool any() const { return path || link || size || uid || gid || mtime || !attributes.empty(); }
  Result<> take(const std::string& key, std::string value);
  Result<> take_all(std::string_view records);

 private:
  Result<> once(std::optional<std::string>& target, const std::string& key, std::string value);
  Result<> once(std::optional<std::uint64_t>& target, const std::string& key, std::string_view digits);
};

Result<> TarReader::Overrides::once(std::optional<std::string>& target, const std::string& key, std::string value) {
  if (target) return fail("two headers give a " + key + " to one entry");
  if (value.empty()) return fail("an empty " + key);
  if (value.find('\0') != std::string::npos) return fail("a NUL byte in a " + key);
  target = std::move(value);
  return {};
}

Result<> TarReader::Overrides::once(std::optional<std::uint64_t>& target, const std::string& key,
                                    std::string_view digits) {
  if (target) return fail("two headers give a " + key + " to one entry");
  target = decimal(digits);
  if (!target) return fail("the " + key + " '" + printable(digits.substr(0, 40)) + "' is no number");
  return {};
}

// Every keyword that is known; others could mean anything, so they are refused.
Result<> TarReader::Overrides::take(const std::string& key, std::string value) {
  constexpr std::string_view kAttribute = "SCHILY.xattr.";
  // Names beside numbers, times that are not kept, notes of the maker.
  constexpr std::array<std::string_view, 9> kOfNoEffect = {"atime",      "ctime",      "uname",
                                                           "gname",      "comment",    "LIBARCHIVE.creationtime",
                                                           "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink"};
  if (key == "path") return once(path, key, std::move(value));
  if (key == "linkpath") return once(link, key, std::move(value));
  if (key == "size") return once(size, key, value);
  if (key == "uid") return once(uid, key, value);
  if (key == "gid") return once(gid, key, value);
  // Fractions of a second are not kept.
  if (key == "mtime") return once(mtime, key, std::string_view(value).substr(0, value.find('.')));
  if (key == "hdrcharset" && (value == "BINARY" || value == "ISO-IR 10646 2000 UTF-8")) return {};
  if (std::ranges::find(kOfNoEffect, key) != kOfNoEffect.end()) return {};
  if (key.starts_with(kAttribute) && key.size() > kAttribute.size()) {
    std::string name = key.substr(kAttribute.size());
    if (name.find('\0') != std::string::npos) return fail("a NUL byte in the name of an attribute");
    const bool known = std::ranges::any_of(attributes, [&](const auto& entry) { return entry.first == name; });
    if (known) return fail("the attribute " + printable(name) + " twice");
    attribute_bytes += name.size() + value.size();
    if (attribute_bytes > kMaxPaxBytes) return fail("more than 1 MiB of extended attributes");
    attributes.emplace_back(std::move(name), std::move(value));
    return {};
  }
  if (key.starts_with("GNU.sparse.")) {
    return std::unexpected(Error("a sparse file, whose size is not the size of its data")
                               .with_remedy("make the archive without --sparse"));
  }
  return fail("a header '" + printable(key.substr(0, 60)) + "' of unknown meaning");
}

// "LENGTH KEY=VALUE\n", the length counting itself (POSIX.1-2001 pax).
Result<> TarReader::Overrides::take_all(std::string_view records) {
  while (!records.empty()) {
    const std::size_t blank = records.find(' ');
    const auto length = decimal(records.substr(0, std::min(blank, std::size_t{19})));
    if (!length || *length <= blank + 2 || *length > records.size() || records[*length - 1] != '\n')
      return fail("a pax header with a wrong length");
    const std::string_view record = records.substr(blank + 1, *length - blank - 2);
    records.remove_prefix(*length);
    const std::size_t equals = record.find('=');
    if (equals == 0 || equals == std::string_view::npos) return fail("a pax header without a keyword");
    WEIR_CHECK_OK(take(std::string(record.substr(0, equals)), std::string(record.substr(equals + 1))));
  }
  return {};
}

std::string quoted_path(std::string_view path) {
  return path.empty() ? "the root folder" : quoted(path);
}

Result<std::string> canonical_tar_path(std::string_view path) {
  const std::string_view given = path;
  const auto refuse = [&](const char* why) {
    return std::unexpected(Error("entry '" + printable(given.substr(0, 200)) + "': " + why)
                               .with_remedy("make the archive from inside the folder: tar -C FOLDER -cf ARCHIVE ."));
  };
  if (path.empty()) return refuse("an empty name");
  if (path.find('\0') != std::string_view::npos) return refuse("a NUL byte in the name");
  if (path.size() > kMaxTarPath) return refuse("a name longer than 4,095 bytes");
  if (path.starts_with('/')) return refuse("an absolute name");
  if (path == "." || path == "./") return std::string();
  if (path.starts_with("./")) path.remove_prefix(2);
  if (path.ends_with('/')) path.remove_suffix(1);
  std::size_t depth = 0;
  for (std::string_view rest = path;; ++depth) {
    const std::size_t slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    if (name.empty()) return refuse("an empty part in the name");
    if (name == "..") return refuse("'..' in the name, which leads out of the tree");
    if (name == ".") return refuse("'.' inside the name");
    if (name.size() > kMaxTarName) return refuse("a part of the name is longer than 255 bytes");
    if (depth == kMaxTarDepth) return refuse("more than 256 folders deep");
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  return std::string(path);
}

// False: the stream ended exactly before this block.
Result<bool> TarReader::read_block(Block& block) {
  std::size_t have = 0;
  while (have < block.size()) {
    WEIR_TRY(const std::size_t got, stream_.read(MutableBytes(block).subspan(have)));
    if (got == 0 && have == 0) return false;
    if (got == 0) {
      return std::unexpected(
          Error("the archive ends in the middle of a block, at byte " + std::to_string(offset_ + have))
              .with_remedy(kRemake));
    }
    have += got;
  }
  offset_ += block.size();
  return true;
}

Result<std::size_t> TarReader::read(MutableBytes into) {
  if (left_ == 0 || into.empty()) return std::size_t{0};
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left_, into.size()));
  WEIR_TRY(const std::size_t got, stream_.read(into.first(wanted)));
  if (got == 0) {
    return std::unexpected(Error("the archive ends at byte " + std::to_string(offset_) + ", " + std::to_string(left_) +
                                 " bytes before the end of an entry")
                               .with_remedy(kRemake));
  }
  left_ -= got;
  offset_ += got;
  return got;
}

Result<> TarReader::skip_content() {
  std::array<std::uint8_t, 64 * 1024> unused;
  while (left_ > 0) {
    WEIR_CHECK_OK(read(unused));
  }
  left_ = padding_;
  padding_ = 0;
  while (left_ > 0) {
    WEIR_CHECK_OK(read(unused));
  }
  return {};
}

// The first of the two blocks of zeros that end an archive was read. Writers fill up to a record; nothing else follows.
Result<> TarReader::expect_nothing_more() {
  Block block;
  bool second = false;
  while (true) {
    WEIR_TRY(const bool more, read_block(block));
    if (!more && second) return {};
    if (!more) return std::unexpected(Error("the archive ends without its second block of zeros").with_remedy(kRemake));
    if (!is_zero(block)) {
      return std::unexpected(
          Error("data after the end of the archive, at byte " + std::to_string(offset_ - block.size()))
              .with_remedy("give one archive at a time: joined archives are not read"));
    }
    second = true;
  }
}

Result<std::string> TarReader::read_whole(std::uint64_t size, std::size_t limit, const char* what) {
  if (size > limit) {
    return std::unexpected(
        Error(std::string(what) + " of " + std::to_string(size) + " bytes (limit " + std::to_string(limit) + ")")
            .with_remedy(kPlainTar));
  }
  std::string content;
  std::array<std::uint8_t, 4096> buffer;
  left_ = size;
  padding_ = (512 - size % 512) % 512;
  while (left_ > 0) {
    WEIR_TRY(const std::size_t got, read(buffer));
    content.append(as_text(Bytes(buffer).first(got)));
  }
  WEIR_CHECK_OK(skip_content());
  return content;
}

namespace {

Result<TarEntry::Type> type_of(char flag, std::string_view path) {
  using enum TarEntry::Type;
  switch (flag) {
    case '\0':
    case '0':
      return file;
    case '1':
      return hard_link;
    case '2':
      return symbolic_link;
    case '3':
      return character_device;
    case '4':
      return block_device;
    case '5':
      return folder;
    case '6':
      return fifo;
    case 'S':
      return bad_entry(path, "a sparse file, whose size is not the size of its data",
                       "make the archive without --sparse");
    default:
      return bad_entry(path, "type '" + printable(std::string(1, flag)) + "' is not one that a file system has",
                       kPlainTar);
  }
}

// Some writers put the type of the file into the mode as well, as stat() has it.
bool mode_fits(std::uint64_t mode, TarEntry::Type type) {
  using enum TarEntry::Type;
  if (mode >> 12 == 0) return true;
  switch (type) {
    case file:
    case hard_link:
      return mode >> 12 == 010;
    case folder:
      return mode >> 12 == 004;
    case symbolic_link:
      return mode >> 12 == 012;
    case character_device:
    case block_device:
    case fifo:
      return true;
  }
  return false;
}

std::string name_in(const Block& block) {
  std::string name(text(block, kName));
  const std::string_view prefix = raw(block, kMagic) == kUstar ? text(block, kPrefix) : std::string_view();
  return prefix.empty() ? name : std::string(prefix) + "/" + name;
}

}  // namespace

Result<TarEntry> TarReader::entry_of(const Block& block, Overrides& overrides) {
  const std::string name = overrides.path.value_or(name_in(block));
  TarEntry entry;
  WEIR_TRY(entry.path, canonical_tar_path(name));
  WEIR_TRY(entry.type, type_of(static_cast<char>(block[kType]), entry.path));
  const bool is_folder = entry.type == TarEntry::Type::folder;
  if (!is_folder && (name.ends_with('/') || entry.path.empty()))
    return bad_entry(name, "a name that only a folder can have", kPlainTar);
  const auto mode = number(raw(block, kMode));
  const auto uid = overrides.uid ? overrides.uid : number(raw(block, kUid));
  const auto gid = overrides.gid ? overrides.gid : number(raw(block, kGid));
  const auto mtime = overrides.mtime ? overrides.mtime : number(raw(block, kMtime));
  const auto size = overrides.size ? overrides.size : number(raw(block, kSize));
  if (!mode || !uid || !gid || !mtime || !size)
    return bad_entry(entry.path, "a number in its header is negative, too large or no number", kPlainTar);
  if (!mode_fits(*mode, entry.type)) return bad_entry(entry.path, "a mode that is not of its type", kPlainTar);
  constexpr std::uint64_t kMaxId = std::numeric_limits<std::uint32_t>::max() - 1;
  if (*uid > kMaxId || *gid > kMaxId) return bad_entry(entry.path, "an owner that cannot exist", kPlainTar);
  entry.mode = static_cast<std::uint32_t>(*mode & 07777);
  entry.uid = static_cast<std::uint32_t>(*uid);
  entry.gid = static_cast<std::uint32_t>(*gid);
  entry.mtime = static_cast<std::int64_t>(*mtime);
  entry.size = *size;
  if (entry.size != 0 && entry.type != TarEntry::Type::file)
    return bad_entry(entry.path, "content, although it is no regular file", kPlainTar);
  entry.attributes = std::move(overrides.attributes);
  const std::string link = overrides.link.value_or(std::string(text(block, kLink)));
  if (entry.type == TarEntry::Type::hard_link) {
    auto target = canonical_tar_path(link);
    if (!target)
      return bad_entry(entry.path, "a hard link to what is not in this tree: " + target.error().what(), kPlainTar);
    entry.link = std::move(*target);
  } else if (entry.type == TarEntry::Type::symbolic_link) {
    if (link.empty() || link.size() > kMaxTarPath)
      return bad_entry(entry.path, "a symbolic link whose target is empty or longer than 4,095 bytes", kPlainTar);
    entry.link = link;
  } else if (!link.empty() && entry.type == TarEntry::Type::file) {
    return bad_entry(entry.path, "a link target, although it is no link", kPlainTar);
  }
  return entry;
}

Result<std::optional<TarEntry>> TarReader::next() {
  WEIR_CHECK_OK(skip_content());
  Overrides overrides;
  while (true) {
    Block block;
    const std::uint64_t at = offset_;
    WEIR_TRY(const bool more, read_block(block));
    if (!more) {
      return std::unexpected(
          Error("the archive stops at byte " + std::to_string(at) + " without its end mark").with_remedy(kRemake));
    }
    const auto broken = [&](const std::string& why) {
      return std::unexpected(Error("byte " + std::to_string(at) + " of the archive: " + why).with_remedy(kRemake));
    };
    if (is_zero(block)) {
      if (overrides.any()) return broken("the archive ends after a header for an entry that does not come");
      WEIR_CHECK_OK(expect_nothing_more());
      return std::optional<TarEntry>();
    }
    if (!checksum_is_right(block)) return broken("no tar header (wrong checksum)");
    if (raw(block, kMagic) != kUstar && raw(block, kMagic) != kGnu)
      return broken("a tar header of a kind older than ustar");
    const char flag = static_cast<char>(block[kType]);
    const auto size = number(raw(block, kSize));
    if (!size) return broken("a size that is negative, too large or no number");
    if (flag == 'x' || flag == 'g') {
      WEIR_TRY(const std::string records, read_whole(*size, kMaxPaxBytes, "a pax header"));
      Overrides global;
      auto taken = (flag == 'x' ? overrides : global).take_all(records);
      if (!taken) return std::unexpected(std::move(taken).error().context("byte " + std::to_string(at)));
      if (global.any()) return broken("a header that changes all entries after it");
    } else if (flag == 'L' || flag == 'K') {
      WEIR_TRY(std::string name, read_whole(*size, kMaxTarPath + 1, "a long name"));
      if (name.ends_with('\0')) name.pop_back();
      auto taken = overrides.take(flag == 'L' ? "path" : "linkpath", std::move(name));
      if (!taken) return std::unexpected(std::move(taken).error().context("byte " + std::to_string(at)));
    } else {
      WEIR_TRY(TarEntry entry, entry_of(block, overrides));
      left_ = entry.size;
      padding_ = (512 - entry.size % 512) % 512;
      return std::optional(std::move(entry));
    }
  }
}

}  // namespace weir::wire
