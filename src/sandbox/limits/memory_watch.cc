#include "sandbox/limits/memory_watch.h"

#include <sys/statfs.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "sandbox/living/process_tree.h"
#include "sys/errno.h"
#include "sys/files.h"

namespace weir::sandbox {
namespace {

constexpr std::size_t kMaxStatus = 64 * 1024;
// Threads may come and go while they are looked at.
constexpr int kAttempts = 4;

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

// Both files have lines with it exactly where the thread has memory.
bool tells_memory(const Result<std::string>& text) {
  return text && text->find("Rss") != std::string::npos;
}

// All threads of a process have the same memory, but one that has ended shows none; the first may have ended while the
// others run. Nothing: the whole process has ended.
std::optional<std::string> read_of_a_thread(const Proc& proc, pid_t process, const std::string& file) {
  const std::string folder = proc.folder_of(process);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (auto text = sys::read_file(folder + file, kMaxStatus); tells_memory(text)) return std::move(*text);
    std::error_code gone;
    std::size_t threads = 0;
    std::filesystem::directory_iterator thread(folder + "/task", gone);
    for (; !gone && thread != std::filesystem::directory_iterator(); thread.increment(gone), ++threads) {
      if (auto text = sys::read_file(thread->path().string() + file, kMaxStatus); tells_memory(text)) {
        return std::move(*text);
      }
    }
    if (threads < 2) break;
  }
  return std::nullopt;
}

std::uint64_t cheap(const Proc& proc, pid_t process) {
  const auto text = read_of_a_thread(proc, process, "/status");
  return text ? sum_of(*text, {"RssAnon", "RssShmem", "VmSwap"}) : 0;
}

// Walks the page tables: exact, and slower by orders.
std::uint64_t exact(const Proc& proc, pid_t process) {
  const auto text = read_of_a_thread(proc, process, "/smaps_rollup");
  return text ? sum_of(*text, {"Pss_Anon", "Pss_Shmem", "SwapPss"}) : cheap(proc, process);
}

}  // namespace

Result<std::uint64_t> memory_of_tree(pid_t init, std::uint64_t enough, const std::string& mount) {
  const Proc proc{mount};
  WEIR_TRY(const auto tree, tree_below(proc, init));
  if (!tree) return kUncountable;
  std::uint64_t sum = 0;
  for (const pid_t process : *tree) sum += cheap(proc, process);
  if (sum <= enough) return sum;
  sum = 0;
  // Init is a copy of the supervisor and shares its pages with it; what it has of its own is a few pages.
  for (std::size_t i = 1; i < tree->size(); ++i) sum += exact(proc, (*tree)[i]);
  return sum;
}

Result<Usage> usage_of(int root) {
  struct statfs status{};
  if (::fstatfs(root, &status) != 0) return sys::errno_error("cannot ask how full the sandbox's root is");
  return Usage{.bytes = (status.f_blocks - status.f_bfree) * static_cast<std::uint64_t>(status.f_bsize),
               .full = (status.f_blocks != 0 && status.f_bfree == 0) || (status.f_files != 0 && status.f_ffree == 0)};
}

}  // namespace weir::sandbox
