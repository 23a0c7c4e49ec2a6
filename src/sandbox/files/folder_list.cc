#include "sandbox/files/folder_list.h"

#include <sys/stat.h>
#include <time.h>

#include <array>
#include <cstdio>
#include <string>

#include "base/bytes.h"
#include "base/json.h"
#include "sys/files.h"

namespace weir::sandbox {
namespace {

constexpr std::size_t kWriteAt = 32 * 1024;

std::string time_text(const timespec& time) {
  tm parts{};
  std::array<char, 64> text{};
  if (::gmtime_r(&time.tv_sec, &parts) == nullptr) return "1970-01-01T00:00:00Z";  // a year that does not fit an int
  return {text.data(), ::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::string mode_text(mode_t mode) {
  std::array<char, 8> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%04o", mode & 07777));
  return text.data();
}

std::string line_of(const Found& found) {
  JsonWriter line;
  line.begin_object()
      .field("name", found.path)
      .field("type", control::name_of(type_of(found.status.st_mode)))
      .field("bytes", static_cast<std::uint64_t>(found.status.st_size))
      .field("mode", mode_text(found.status.st_mode))
      .field("modified", time_text(found.status.st_mtim));
  if (S_ISLNK(found.status.st_mode)) line.field("target", sys::link_target(found.parent, found.name).value_or(""));
  line.end_object();
  return line.take() + '\n';
}

}  // namespace

Result<> list_folder(const sys::OwnedFd& folder, Depth depth, const sys::OwnedFd& to) {
  std::string text;
  const auto write = [&] {
    auto written = sys::write_whole(to, "the list", as_bytes(text));
    text.clear();
    return written;
  };
  WEIR_CHECK_OK(walk_folder(folder, depth, [&](const Found& found) {
    text += line_of(found);
    return text.size() < kWriteAt ? Result<>() : write();
  }));
  return write();
}

control::FileType type_of(mode_t mode) {
  using enum control::FileType;
  switch (mode & S_IFMT) {
    case S_IFREG:
      return file;
    case S_IFDIR:
      return folder;
    case S_IFLNK:
      return link;
    case S_IFIFO:
      return fifo;
    case S_IFSOCK:
      return socket;
    case S_IFCHR:
    case S_IFBLK:
      return device;
    default:
      return other;
  }
}

}  // namespace weir::sandbox
