#include "changes/remove_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "sys/folder.h"
#include "sys/open_resolved.h"

namespace weir::changes {
namespace {

constexpr std::size_t kMaxLevels = 400;  // each holds a descriptor

bool remove(const sys::OwnedFd& parent, const std::string& name, std::size_t level) {
  if (::unlinkat(parent.get(), name.c_str(), 0) == 0 || errno == ENOENT) return true;
  if (level >= kMaxLevels) return false;
  constexpr std::uint64_t kHere = sys::kBeneath | RESOLVE_NO_XDEV;
  const sys::OwnedFd folder = sys::open_resolved(parent.get(), name, O_RDONLY | O_DIRECTORY, kHere);
  if (!folder.valid()) return false;
  ::fchmod(folder.get(), S_IRWXU);  // what is in it can go only where its folder may be written to
  std::vector<std::string> names;
  {
    const sys::Folder open = sys::folder_of(sys::open_resolved(folder.get(), "", O_RDONLY | O_DIRECTORY, kHere));
    while (const dirent* next = open ? sys::next_entry(open) : nullptr) names.emplace_back(next->d_name);
  }
  bool all = true;
  for (const std::string& each : names) all = remove(folder, each, level + 1) && all;
  return ::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) == 0 && all;
}

}  // namespace

bool remove_tree(const sys::OwnedFd& parent, const std::string& name) {
  return remove(parent, name, 0);
}

}  // namespace weir::changes
