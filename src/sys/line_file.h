// A file read line by line, also while somebody appends to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

class LineFile {
 public:
  // A regular file; an error for anything else. Errors name the path.
  static Result<LineFile> open(const std::string& path);

  // The next line, without its newline; nothing where no whole line is left (yet). Of a line that is longer than
  // `max_bytes` the first `max_bytes` + 1 bytes come, and the rest is passed over. An error where the file has become
  // shorter than what was read.
  Result<std::optional<std::string>> next_line(std::size_t max_bytes);

  // Bytes behind the last newline that was read: the beginning of a line that is not whole.
  bool has_half_line() const { return overlong_ || !pending_.empty(); }

  // Returns when the file has changed, or after `timeout_ms`; it may return earlier.
  Result<> wait(int timeout_ms);

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

 private:
  LineFile(OwnedFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  std::optional<std::string> take_line(std::size_t max_bytes);
  Result<bool> read_more();
  Result<> watch();

  OwnedFd fd_;
  OwnedFd changes_;  // inotify, from the first wait() on
  std::string path_;
  std::string pending_;
  std::size_t searched_ = 0;  // of pending_: holds no newline
  std::uint64_t read_ = 0;
  bool overlong_ = false;  // the rest of the line is passed over
};

}  // namespace weir::sys
