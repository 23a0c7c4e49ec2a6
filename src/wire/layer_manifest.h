// What a layer of files is, as text: one line for each path, in one order and one spelling. The digest of that text is
// the layer's name, so the same files are the same layer wherever they were made.
//
//   weir-layer 1
//   d MODE UID GID PATH                           a folder, over what is below it
//   o MODE UID GID PATH                           a folder that hides what is below it (opaque)
//   f MODE UID GID MTIME SIZE SHA256 PATH         a file
//   h PATH TARGET                                 another name of a file that came before
//   l UID GID PATH TARGET                         a symbolic link
//   w PATH                                        what is below is gone (whiteout)
//
// A path stands after the folder it is in, its parts in the order of their bytes. Bytes that are not printable ASCII,
// blanks and '%' are %XX. Ids are those inside, 0 to 65535. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace weir::wire {

struct LayerEntry {
  enum class Type : char {
    folder = 'd',
    opaque_folder = 'o',
    file = 'f',
    hard_link = 'h',
    symbolic_link = 'l',
    whiteout = 'w',
  };

  Type type = Type::file;
  std::string path = {};   // as TarEntry::path; never empty
  std::string link = {};   // of a hard link: a path; of a symbolic link: its target, as it stands
  std::uint32_t mode = 0;  // of a file 01777 at most, of a folder 03777
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t mtime = 0;   // of a file: seconds since 1970
  std::uint64_t size = 0;   // of a file
  std::string digest = {};  // of a file: SHA-256 of its content, 64 hexadecimal digits

  bool is_folder() const { return type == Type::folder || type == Type::opaque_folder; }
  bool operator==(const LayerEntry&) const = default;
};

inline constexpr std::uint32_t kLargestLayerId = 65535;
// Of a manifest; image/limits.h bounds the entries.
inline constexpr std::size_t kMaxLayerEntries = 500'000;
inline constexpr std::size_t kMaxLayerManifest = 256u << 20;

// The first line, with its newline.
extern const std::string_view kLayerManifestHead;
std::string layer_line(const LayerEntry& entry);

// Strict: one spelling, one order, every folder before what is in it, nothing at the top that is not a snapshot's.
Result<std::vector<LayerEntry>> parse_layer_manifest(std::string_view text);

// The order of a manifest: that of the parts, byte by byte.
bool comes_before(std::string_view path, std::string_view other);

// What belongs to a running sandbox and never to its files: /dev, /proc, /sys, /run, and the layers of its overlays.
bool is_of_running_sandbox(std::string_view path);

// 64 lower-case hexadecimal digits.
bool is_layer_digest(std::string_view text);

}  // namespace weir::wire
