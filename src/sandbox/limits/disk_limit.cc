#include "sandbox/limits/disk_limit.h"

#include <algorithm>
#include <string>

namespace weir::sandbox {
namespace {

constexpr std::uint64_t kBytesPerFile = 8192;
// What the root itself needs is about a hundred.
constexpr std::uint64_t kFewestFiles = 1024;

}  // namespace

std::vector<sys::MountOption> tmpfs_bounds(const std::optional<std::uint64_t>& disk_bytes) {
  if (!disk_bytes) return {};
  return {{"size", std::to_string(*disk_bytes)},
          {"nr_inodes", std::to_string(std::max(kFewestFiles, *disk_bytes / kBytesPerFile))}};
}

}  // namespace weir::sandbox
