#include "sandbox/memory_watch.h"

#include <sys/statfs.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "sys/errno.h"
#include "sys/files.h"

namespace weir::sandbox {
namespace {

constexpr std::size_t kMaxStatus = 64 * 1024;
constexpr std::size_t kMaxChildren = 1024 * 1024;
// More than a sandbox can have with any kernel's default; a tree larger than that is not added up further.
constexpr std::size_t kMaxProcesses = 65536;

std::string folder_of(pid_t process) {
  return "/proc/" + std::to_string(process);
}

// The sum of the lines "Name:   123 kB" whose names are asked for.
std::uint64_t sum_of(const std::string& text, std::initializer_list<std::string_view> names) {
  std::istringstream lines(text);
  std::uint64_t sum = 0;
  for (std::string line; std::getline(lines, line);) {
    for (const std::string_view name : names) {
      if (!line.starts_with(name) || line.size() == name.size() || line[name.size()] != ':') continue;
      sum += std::strtoull(line.c_str() + name.size() + 1, nullptr, 10) * 1024;
    }
  }
  return sum;
}

// Every thread has children of its own.
Result<> add_children(pid_t process, std::vector<pid_t>& tree) {
  std::error_code gone;
  std::filesystem::directory_iterator threads(folder_of(process) + "/task", gone);
  if (gone) return fail("cannot list the processes of the sandbox: " + gone.message(), gone.value());
  for (; threads != std::filesystem::directory_iterator(); threads.increment(gone)) {
    const auto text = sys::read_file(threads->path().string() + "/children", kMaxChildren);
    if (!text) continue;  // a thread that has ended
    std::istringstream numbers(*text);
    for (pid_t child = 0; numbers >> child && tree.size() < kMaxProcesses;) tree.push_back(child);
    if (gone) break;
  }
  return {};
}

Result<std::vector<pid_t>> tree_below(pid_t init) {
  std::vector<pid_t> tree = {init};
  WEIR_CHECK_OK(add_children(init, tree));
  for (std::size_t next = 1; next < tree.size(); ++next) {
    if (!add_children(tree[next], tree)) continue;  // it has ended, and its children are init's now
  }
  return tree;
}

std::uint64_t cheap(pid_t process) {
  const auto text = sys::read_file(folder_of(process) + "/status", kMaxStatus);
  return text ? sum_of(*text, {"RssAnon", "RssShmem", "VmSwap"}) : 0;
}

// Walks the page tables: exact, and slower by orders.
std::uint64_t exact(pid_t process) {
  const auto text = sys::read_file(folder_of(process) + "/smaps_rollup", kMaxStatus);
  return text ? sum_of(*text, {"Pss_Anon", "Pss_Shmem", "SwapPss"}) : cheap(process);
}

}  // namespace

Result<std::uint64_t> memory_of_tree(pid_t init, std::uint64_t enough) {
  WEIR_TRY(const std::vector<pid_t> tree, tree_below(init));
  std::uint64_t sum = 0;
  for (const pid_t process : tree) sum += cheap(process);
  if (sum <= enough) return sum;
  sum = 0;
  // Init is a copy of the supervisor and shares its pages with it; what it has of its own is a few pages.
  for (std::size_t i = 1; i < tree.size(); ++i) sum += exact(tree[i]);
  return sum;
}

Result<Usage> usage_of(int root) {
  struct statfs status{};
  if (::fstatfs(root, &status) != 0) return sys::errno_error("cannot ask how full the sandbox's root is");
  return Usage{.bytes = (status.f_blocks - status.f_bfree) * static_cast<std::uint64_t>(status.f_bsize),
               .full = (status.f_blocks != 0 && status.f_bfree == 0) || (status.f_files != 0 && status.f_ffree == 0)};
}

}  // namespace weir::sandbox
