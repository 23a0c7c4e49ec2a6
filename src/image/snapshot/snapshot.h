// What is known about a snapshot besides its files, and the one form in which that is stored and travels.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace weir::image {

struct SnapshotLayer {
  std::string digest;  // 64 hexadecimal digits: of its manifest (wire/layer_manifest.h)
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  bool operator==(const SnapshotLayer&) const = default;
};

struct Snapshot {
  std::string id = {};    // "s-" and 8 hexadecimal digits
  std::string name = {};  // may be empty
  std::vector<std::pair<std::string, std::string>> labels = {};
  std::string created = {};  // RFC 3339
  // What lies below the layers: an image of the store, or nothing, which is the host's programs.
  struct Base {
    std::string image = {};    // its name; empty: the host's programs
    std::string digest = {};   // of an archive; may be empty
    std::string created = {};  // when it was imported: tells it from another one of the same name and no digest
    bool operator==(const Base&) const = default;
  } base = {};
  std::vector<SnapshotLayer> layers = {};  // top first
  // The policy that was in force when it was written, and its hash.
  std::string mode = {};
  std::string policy = {};
  // The narrowest mode without a way out ("none", "inbound") in which any of its files may have been written, in it or
  // in what it was made from; empty: there was none. What was written where nothing could get out is opened where it
  // could only when somebody insists.
  std::string taint = {};
  // Where it is from.
  std::string session = {};
  std::string session_name = {};
  std::string parent = {};  // the snapshot that the session had begun from
  // A file: of one that a sleeping session consists of. It is nobody's to list or to remove; it goes when that file is
  // gone and nothing uses it. Empty: one like any other.
  std::string kept_by = {};
};

inline constexpr std::size_t kMaxSnapshotText = 1 << 20;
// sandbox/root/image_root.h says why: kMaxLayers there.
inline constexpr std::size_t kMaxSnapshotLayers = 64;

// One JSON object.
std::string snapshot_json(const Snapshot& snapshot);
// The same for whoever asks, as docs/openapi.yaml has it. `remarks`: sentences about what was left out.
std::string snapshot_summary(const Snapshot& snapshot, const std::vector<std::string>& remarks = {});
// Strict: keys that nobody defined, ids, names, digests and times that are none are errors.
Result<Snapshot> parse_snapshot(std::string_view text);

bool is_snapshot_id(std::string_view text);
// What a person may call one: as images, but no id.
bool is_snapshot_name(std::string_view text);

// `mode` as policies spell it. The taint of what is written in that mode, on top of what has `taint`: the narrower.
std::string taint_of(std::string_view mode, std::string_view taint);
// Whether files with that taint may be seen in that mode: where no more gets out than where they were written.
bool may_open(std::string_view taint, std::string_view mode);

}  // namespace weir::image
