// What the supervisor and the child of init that does one file task say to each other, over a SOCK_SEQPACKET pair of
// that task (StartFileTask in init_messages.h).
//
// The child says FileAnswered or FileFailed, once; after FileAnswered FileEnded or FileFailed, once. A put is told
// Commit in between. The end of the socket before that: for the child that a put is given up, for the supervisor that
// the child was killed. The child lives in the guest's world: what it says is hostile input.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "control/codec.h"

namespace weir::control {

enum class FileType : std::uint8_t { file, folder, link, fifo, socket, device, other, count_ };

// As the API and the sockets of sessions spell it.
inline const char* name_of(FileType type) {
  constexpr const char* kNames[] = {"file", "folder", "link", "fifo", "socket", "device", "other"};
  return kNames[static_cast<std::size_t>(type)];
}

// get and put: with the file's descriptor.
struct FileAnswered {
  std::uint64_t bytes = 0;
  std::uint32_t mode = 0;      // permission bits
  std::uint64_t modified = 0;  // seconds since 1970, two's complement
  FileType type = FileType::file;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.bytes);
    visit(self.mode);
    visit(self.modified);
    visit(self.type);
  }
};

struct FileFailed {
  std::uint32_t code = 0;  // errno, 0: none
  std::string what;
  std::string remedy;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.code);
    visit(self.what);
    visit(self.remedy);
  }
};

// All of it was done.
struct FileEnded {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

using FromFileTask = std::variant<FileAnswered, FileFailed, FileEnded>;

// What was put is complete.
struct Commit {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

using ToFileTask = std::variant<Commit>;

}  // namespace weir::control
