// Files and decompressors as streams of bytes.
#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
#include "base/sha256.h"
#include "wire/byte_stream.h"

namespace weir::image {

// A part of a regular file. Reads with pread(2): several may share the descriptor, which outlives the stream.
class FileStream : public wire::ByteStream {
 public:
  FileStream(int fd, std::uint64_t offset, std::uint64_t size) : fd_(fd), offset_(offset), left_(size) {}
  Result<std::size_t> read(MutableBytes into) override;

 private:
  int fd_;
  std::uint64_t offset_;
  std::uint64_t left_;
};

// Passes bytes on and counts and hashes them.
class HashingStream : public wire::ByteStream {
 public:
  explicit HashingStream(wire::ByteStream& source) : source_(source) {}
  Result<std::size_t> read(MutableBytes into) override;

  std::uint64_t size() const { return size_; }
  // Reads what nobody has read yet, then gives the digest of everything. Once.
  Result<std::string> finish();

 private:
  wire::ByteStream& source_;
  Sha256 hash_;
  std::uint64_t size_ = 0;
};

// The content behind gzip, zstd or xz, known by its first bytes; anything else passes as it is. Several members one
// after the other are one content, as their formats say. Anything after the last one is an error, and so is a content
// that is out of all proportion (limits.h). `source` outlives the stream.
Result<std::unique_ptr<wire::ByteStream>> decompressed(wire::ByteStream& source);

}  // namespace weir::image
