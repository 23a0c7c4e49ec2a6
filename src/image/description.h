// What is known about an image besides its files, and the one form in which it travels and is stored.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/tree_writer.h"

namespace weir::image {

struct Description {
  std::string name;     // in the store; empty for an image that is used once
  std::string format;   // "tar", "OCI image", "docker archive", "folder"
  std::string digest;   // "sha256:HEX" of the archive, of the manifest, or empty (a folder)
  std::string created;  // when it was imported, RFC 3339
  std::string ids;      // which host ids own its files: ids.h
  Owners owners = Owners::one;
  Tally tally;
  // What an OCI configuration says.
  std::vector<std::string> env;
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::string workdir;
  std::string user;
};

// A configuration is at most limits.h's kMaxDocument.
inline constexpr std::size_t kMaxDescription = 8 * 1024 * 1024;

// Fields that end with NUL bytes, first the key, then the value. Nothing may contain a NUL, which JSON readers and
// writers of an image never let in.
std::string encode(const Description& description);
// Strict: an unknown key, a value out of its range, or anything missing is an error.
Result<Description> decode_description(std::string_view text);

// One sentence each, about what the image has and its sandboxes do not.
std::vector<std::string> remarks(const Description& description);

}  // namespace weir::image
