// The files of an OCI layout or a docker archive, by name.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "sys/owned_fd.h"
#include "wire/byte_stream.h"

namespace weir::image {

// A part of a regular file. Valid as long as what gave it.
struct Blob {
  int fd = -1;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

class BlobSource {
 public:
  BlobSource() = default;
  BlobSource(const BlobSource&) = delete;
  BlobSource& operator=(const BlobSource&) = delete;
  virtual ~BlobSource() = default;

  // ENOENT: there is no such file. One blob at a time: the next call may close the one before.
  virtual Result<Blob> open(const std::string& name) = 0;
};

// A folder; nothing outside it is ever opened, and no link followed.
class FolderBlobs : public BlobSource {
 public:
  explicit FolderBlobs(int folder) : folder_(folder) {}
  Result<Blob> open(const std::string& name) override;

 private:
  int folder_;
  sys::OwnedFd current_;
};

// An uncompressed archive, whose members are read where they lie.
class ArchiveBlobs : public BlobSource {
 public:
  // Reads all headers of the regular file `fd`, which outlives the object.
  static Result<std::unique_ptr<ArchiveBlobs>> index(int fd, std::uint64_t size);
  Result<Blob> open(const std::string& name) override;

 private:
  std::map<std::string, Blob> members_;
};

}  // namespace weir::image
