#include "sandbox/living/process_tree.h"

#include <cerrno>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <system_error>

#include "sys/files.h"

namespace weir::sandbox {
namespace {

constexpr std::size_t kMaxStatus = 64 * 1024;
constexpr std::size_t kMaxChildren = 1024 * 1024;
// More than a sandbox can have with any kernel's default; a tree larger than that is not added up.
constexpr std::size_t kMaxProcesses = 65536;

bool has_ended(const Error& error) {
  return error.code() == ENOENT || error.code() == ESRCH;
}

// Every thread has children of its own. False: there are too many to be counted.
Result<bool> add_children(const Proc& proc, pid_t process, std::vector<pid_t>& tree) {
  std::error_code gone;
  std::filesystem::directory_iterator threads(proc.folder_of(process) + "/task", gone);
  if (gone) return fail("cannot list the processes of the sandbox: " + gone.message(), gone.value());
  for (; threads != std::filesystem::directory_iterator(); threads.increment(gone)) {
    const auto text = sys::read_file(threads->path().string() + "/children", kMaxChildren);
    if (!text && has_ended(text.error())) continue;
    if (!text) return false;
    std::istringstream numbers(*text);
    for (pid_t child = 0; numbers >> child;) {
      if (tree.size() == kMaxProcesses) return false;
      tree.push_back(child);
    }
    if (gone) break;
  }
  return true;
}

// The innermost number of the line "NSpid:\t4711\t12"; 0 where it has ended, or cannot be looked at.
std::uint32_t pid_inside(const Proc& proc, pid_t process) {
  const auto text = sys::read_file(proc.folder_of(process) + "/status", kMaxStatus);
  if (!text) return 0;
  constexpr std::string_view kName = "\nNSpid:";
  const std::size_t at = text->find(kName);
  if (at == std::string::npos) return 0;
  std::istringstream numbers(text->substr(at + kName.size(), text->find('\n', at + 1) - at - kName.size()));
  std::uint32_t last = 0;
  for (std::uint32_t number = 0; numbers >> number;) last = number;
  return last;
}

}  // namespace

Result<std::optional<std::vector<pid_t>>> tree_below(const Proc& proc, pid_t init) {
  std::vector<pid_t> tree = {init};
  for (std::size_t next = 0; next < tree.size(); ++next) {
    const auto counted = add_children(proc, tree[next], tree);
    if (!counted && next == 0) return std::unexpected(counted.error());
    // One that has ended meanwhile, and its children are init's now; whatever else fails is no reason to count less.
    if (counted ? !*counted : !has_ended(counted.error())) return std::nullopt;
  }
  return tree;
}

Result<Living> living_below(pid_t init, std::size_t most) {
  const std::string mount = "/proc";
  const Proc proc{mount};
  // Of init itself it has to be there: without it (a kernel without these lists) everything would look empty.
  const std::string first = proc.folder_of(init) + "/task/" + std::to_string(init) + "/children";
  WEIR_CHECK_OK(sys::read_file(first, kMaxChildren));
  std::vector<pid_t> tree = {init};
  for (std::size_t next = 0; next < tree.size() && tree.size() <= most + 1; ++next) {
    const auto counted = add_children(proc, tree[next], tree);
    if (!counted && next == 0) return std::unexpected(counted.error());
    if (counted && !*counted) return Living{.any = true, .pids = {}};
  }
  Living living{.any = tree.size() > 1, .pids = {}};
  for (std::size_t i = 1; i < tree.size() && living.pids.size() < most; ++i) {
    if (const std::uint32_t pid = pid_inside(proc, tree[i]); pid != 0) living.pids.push_back(pid);
  }
  return living;
}

}  // namespace weir::sandbox
