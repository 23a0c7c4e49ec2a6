// What is kept of an overlay after its run, as values and as text: one JSON object a line, the first about the run, the
// others one for each changed path.
//
// Names come from the guest. Reading is as strict as if the whole text did: a path that could lead out of its folder
// is an error of the whole.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "changes/layer_changes.h"

namespace weir::changes {

struct KeptEntry {
  std::uint32_t share = 0;  // place in Manifest::shares
  LayerChange change;
  std::uint64_t offset = 0;        // of a file: where its bytes begin in the file of contents
  std::string before = {};         // print_of() what was there when the run had ended; empty: nothing was
  bool changed_meanwhile = false;  // what was there was changed from outside while the run went on
  std::string not_kept = {};       // why there is nothing to take over; empty: there is
};

struct KeptShare {
  std::string source;       // absolute host path
  std::uint64_t inode = 0;  // of that folder
};

struct Manifest {
  std::string sandbox = {};
  std::string folder = {};   // in which weir was called
  std::string command = {};  // the program, not its arguments
  std::string started = {};  // RFC 3339
  std::vector<KeptShare> shares = {};
  std::vector<KeptEntry> entries = {};  // by share, then by path: a folder stands before what is in it
  std::uint64_t left_out = 0;           // changes beyond the bounds
};

// Entries of a run and bytes of its text; LayerBounds of one share stay far below.
inline constexpr std::size_t kMaxEntries = 200'000;
inline constexpr std::size_t kMaxManifest = 256u << 20;
inline constexpr LayerBounds kKeptBounds{.changes = kMaxEntries, .text = 32u << 20};

std::string manifest_text(const Manifest& manifest);
Result<Manifest> parse_manifest(std::string_view text);

// Relative, below its folder: no empty, "." or ".." part, no NUL.
bool is_plain_path(std::string_view path);

}  // namespace weir::changes
