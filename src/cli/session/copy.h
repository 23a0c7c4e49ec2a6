// weir session cp: one file or folder into a session or out of it.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "cli/session/byte_mover.h"
#include "session/registry.h"

namespace weir::cli {

// One side: "ID:PATH" inside, or a path of this machine, which "./" in front tells from the former; "-" is standard
// input or output.
struct CopyPlace {
  std::string session;  // empty: this machine
  std::string path;     // inside: absolute
  bool inside() const { return !session.empty(); }
  bool is_standard() const { return !inside() && path == "-"; }
};
Result<CopyPlace> parse_copy_place(std::string_view text);

// Exactly one side is inside. A target that is a folder, or ends with a slash, takes what is copied below its own name.
// Errors name the side that failed. What is put inside is there whole or not at all; so is a regular file here.
Result<> copy(const session::Registry& registry, const CopyPlace& from, const CopyPlace& to, Progress progress);

}  // namespace weir::cli
