// What a command wrote into an overlay, compared with the folder below it.
//
// The layer was made by hostile code: it is walked by descriptors, beneath its root, no link is followed, nothing but
// folders is opened, and what is too deep or too much is counted and not looked at. Everything inside must have ended.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sys/owned_fd.h"

namespace weir::changes {

struct LayerChange {
  enum class Kind : std::uint8_t {
    added,
    changed,  // the file was written to, or its owner, mode or times were
    deleted,
    replaced,    // a folder that was there, with nothing of what was in it
    unreadable,  // a folder that cannot be looked into, or is too deep
  };
  enum class Type : std::uint8_t { file, folder, link, other };

  std::string path;  // relative to the shared folder; as the command chose it
  Kind kind = Kind::added;
  Type type = Type::file;        // what is there now; of what was deleted: file
  std::uint64_t bytes = 0;       // of a file
  std::string link_target = {};  // as the command chose it
  std::uint32_t mode = 0;        // permissions, set-id bits and all
};
std::string_view name_of(LayerChange::Kind kind);
std::string_view name_of(LayerChange::Type type);

// Of one share; what is more is counted.
struct LayerBounds {
  std::size_t changes = 4096;
  std::size_t text = 1 << 20;  // bytes of paths and targets together
};

struct LayerChanges {
  std::vector<LayerChange> changes;  // by path
  std::uint64_t left_out = 0;
};

// `layer`: the upper folder. `source`: the shared folder, a host path.
LayerChanges changes_of(const sys::OwnedFd& layer, const std::string& source, const LayerBounds& bounds = {});

}  // namespace weir::changes
