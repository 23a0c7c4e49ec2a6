// A file that will be put in place later, whole or not at all.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

class PendingFile {
 public:
  // Finds out now whether the file can be made: its folder is held open, so that whoever renames or replaces folders
  // meanwhile does not lead it elsewhere. An error when the folder cannot be written, or when something is there that
  // is no regular file. Nothing is made yet. Errors name the path.
  static Result<PendingFile> prepare(const std::string& path);

  // Puts the file in place, in place of one that is there; readable by its owner only. A link in its place is replaced,
  // not followed.
  Result<> write(Bytes bytes) const;
  // The same with what `fill` writes, and these rights; not forced to the disk. Where `fill` fails, or this process
  // dies meanwhile, nothing is left where the file system has files without a name.
  Result<> write(const std::function<Result<>(const OwnedFd&)>& fill, mode_t mode) const;

 private:
  PendingFile(OwnedFd folder, std::string name, std::string path)
      : folder_(std::move(folder)), name_(std::move(name)), path_(std::move(path)) {}
  Result<> replace(const std::string& temporary) const;

  OwnedFd folder_;
  std::string name_;
  std::string path_;  // for messages
};

}  // namespace weir::sys
