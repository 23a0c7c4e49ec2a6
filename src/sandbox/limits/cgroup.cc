#include "sandbox/limits/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <sstream>
#include <string_view>

#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"

namespace weir::sandbox {
namespace {

constexpr std::size_t kMaxFile = 64 * 1024;
constexpr std::string_view kPrefix = "weir-";
// An extended attribute (kernel 5.7) that every cgroup of weir has from the moment it is locked. What lacks it is never
// touched, whatever its name: other programs call theirs weir-... too.
constexpr const char* kMark = "user.weir.sandbox";
constexpr std::string_view kAside = ".supervisor";
constexpr std::uint64_t kCpuPeriodUs = 100'000;  // the kernel's default
// Between the end of the last process and the moment its cgroup can be removed.
constexpr int kRemoveAttempts = 100;
constexpr int kRemoveWaitMs = 10;

std::string content(const std::string& path) {
  return sys::read_file(path, kMaxFile).value_or("");
}

bool writable(const std::string& path) {
  return ::access(path.c_str(), W_OK) == 0;
}

Result<> write_to(int folder, const char* file, const std::string& text) {
  const std::string what = "cannot write " + text + " to " + file + " of a cgroup";
  WEIR_TRY(const sys::OwnedFd fd, sys::checked_fd(::openat(folder, file, O_WRONLY | O_CLOEXEC), what));
  if (::write(fd.get(), text.data(), text.size()) < 0) return sys::errno_error(what);
  return {};
}

Result<sys::OwnedFd> open_folder(const std::string& path) {
  return sys::checked_fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "cannot open the cgroup " + path);
}

// "+memory +pids"
std::string changes(const Controllers& controllers, char sign) {
  std::string text;
  const auto add = [&](bool wanted, const char* name) {
    if (wanted) text += (text.empty() ? "" : " ") + std::string(1, sign) + name;
  };
  add(controllers.memory, "memory");
  add(controllers.cpu, "cpu");
  add(controllers.pids, "pids");
  return text;
}

bool holds_only_this_process(const std::string& folder) {
  return content(folder + "/cgroup.procs") == std::to_string(::getpid()) + "\n";
}

std::optional<CgroupPlace> place_at(const std::string& folder, const Controllers& wanted) {
  if (!writable(folder) || !writable(folder + "/cgroup.procs")) return std::nullopt;
  const Controllers there = parse_controllers(content(folder + "/cgroup.controllers")) & wanted;
  const Controllers ready = parse_controllers(content(folder + "/cgroup.subtree_control")) & there;
  if (ready == there) return CgroupPlace{.folder = folder, .controllers = ready};
  using Way = CgroupPlace::Way;
  // The root of all cgroups is the one without a type; it alone may have both processes and controllers below.
  if (writable(folder + "/cgroup.subtree_control")) {
    if (::access((folder + "/cgroup.type").c_str(), F_OK) != 0) {
      return CgroupPlace{.folder = folder, .controllers = there, .way = Way::enable};
    }
    if (holds_only_this_process(folder)) {
      return CgroupPlace{.folder = folder, .controllers = there, .way = Way::step_aside};
    }
  }
  return CgroupPlace{.folder = folder, .controllers = ready};
}

// The number behind `key` in a flat-keyed file.
std::uint64_t counter(int folder, const char* file, std::string_view key) {
  const sys::OwnedFd fd(::openat(folder, file, O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> buffer{};
  const ssize_t got = fd.valid() ? ::read(fd.get(), buffer.data(), buffer.size()) : 0;
  std::istringstream lines(std::string(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0));
  std::string name;
  std::uint64_t number = 0;
  while (lines >> name >> number) {
    if (name == key) return number;
  }
  return 0;
}

// Kills what still runs there (kernel 5.14) and removes it; the kernel tells by cgroup.events when it is empty.
void remove_folder(const std::string& path, int folder) {
  if (::rmdir(path.c_str()) == 0 || errno != EBUSY) return;
  if (!write_to(folder, "cgroup.kill", "1")) return;
  const sys::OwnedFd events(::openat(folder, "cgroup.events", O_RDONLY | O_CLOEXEC));
  for (int attempt = 0; attempt < kRemoveAttempts; ++attempt) {
    pollfd changed{.fd = events.get(), .events = POLLPRI, .revents = 0};
    ::poll(&changed, 1, kRemoveWaitMs);
    if (::rmdir(path.c_str()) == 0 || errno != EBUSY) return;
  }
}

// A cgroup is locked before it is marked: a marked one without a holder of the lock has lost its supervisor. One whose
// maker died in between stays, empty.
void sweep(const std::string& place) {
  const sys::Folder folder(::opendir(place.c_str()));
  if (folder == nullptr) return;
  while (const dirent* entry = sys::next_entry(folder)) {
    if (!std::string_view(entry->d_name).starts_with(kPrefix)) continue;
    const std::string path = place + "/" + entry->d_name;
    const auto left = open_folder(path);
    if (!left || ::fgetxattr(left->get(), kMark, nullptr, 0) < 0) continue;
    if (::flock(left->get(), LOCK_EX | LOCK_NB) == 0) remove_folder(path, left->get());
  }
}

// Open to nobody else, who could hold the lock in our place.
Result<sys::OwnedFd> make_locked(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0) return sys::errno_error("cannot make the cgroup " + path);
  WEIR_TRY(sys::OwnedFd folder, open_folder(path));
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0) return sys::errno_error("cannot lock the cgroup " + path);
  // A kernel without such attributes keeps what a killed supervisor leaves.
  if (::fsetxattr(folder.get(), kMark, "1", 1, 0) != 0 && errno != EOPNOTSUPP)
    return sys::errno_error("cannot mark the cgroup " + path);
  return folder;
}

bool has_swap() {
  const std::string text = content("/proc/swaps");
  return text.find('\n') + 1 < text.size();
}

// Swap would only put the end off, and make the machine slow meanwhile.
Result<> forbid_swap(int folder) {
  auto done = write_to(folder, "memory.swap.max", "0");
  // Without swap, or without counting it, there is no such file.
  if (!done && done.error().code() == ENOENT && !has_swap()) return {};
  if (done) return done;
  return std::unexpected(std::move(done).error().with_remedy("boot with swapaccount=1, or switch swap off"));
}

}  // namespace

Controllers parse_controllers(const std::string& text) {
  Controllers found;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (word == "memory") found.memory = true;
    if (word == "cpu") found.cpu = true;
    if (word == "pids") found.pids = true;
  }
  return found;
}

std::optional<CgroupPlace> find_cgroup_place(const Controllers& wanted, const std::string& mount,
                                             const std::string& own) {
  std::optional<CgroupPlace> best;
  // ".." shows that the mount is another part of the tree than the one this process is in.
  if (!own.starts_with('/') || own.find("/..") != std::string::npos) return best;
  for (std::string path = own == "/" ? "" : own;; path.resize(path.rfind('/'))) {
    const auto found = place_at(mount + path, wanted);
    if (found && found->controllers.count() > (best ? best->controllers.count() : 0)) best = found;
    if (path.empty()) return best;
  }
}

std::optional<CgroupPlace> find_cgroup_place(const Controllers& wanted) {
  std::istringstream lines(content("/proc/self/cgroup"));
  std::string own;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::")) own = line.substr(3);
  }
  // Alone, or beside hierarchies of version 1.
  for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    struct statfs status{};
    if (::statfs(mount, &status) != 0 || status.f_type != CGROUP2_SUPER_MAGIC) continue;
    return find_cgroup_place(wanted, mount, own);
  }
  return std::nullopt;
}

Result<Cgroup> Cgroup::create(const CgroupPlace& place, const std::string& name) {
  sweep(place.folder);
  Cgroup cgroup(place, std::string(kPrefix) + name);
  WEIR_CHECK_OK(cgroup.prepare_place());
  WEIR_TRY(cgroup.folder_, make_locked(place.folder + "/" + cgroup.name_));
  return cgroup;
}

Result<> Cgroup::prepare_place() {
  if (place_.way == CgroupPlace::Way::ready) return {};
  if (place_.way == CgroupPlace::Way::step_aside) {
    WEIR_TRY(aside_, make_locked(place_.folder + "/" + name_ + std::string(kAside)));
    WEIR_CHECK_OK(write_to(aside_.get(), "cgroup.procs", "0"));
  }
  WEIR_TRY(const sys::OwnedFd folder, open_folder(place_.folder));
  return write_to(folder.get(), "cgroup.subtree_control", changes(place_.controllers, '+'));
}

Result<> Cgroup::set(const Bounds& bounds) {
  if (bounds.memory_bytes) {
    WEIR_CHECK_OK(write_to(fd(), "memory.max", std::to_string(*bounds.memory_bytes)));
    WEIR_CHECK_OK(forbid_swap(fd()));
    // All or nothing: a sandbox that lost one process at random is of no use, and its user would not know.
    WEIR_CHECK_OK(write_to(fd(), "memory.oom.group", "1"));
  }
  if (bounds.cpu_millis) {
    const std::uint64_t quota = *bounds.cpu_millis * kCpuPeriodUs / 1000;
    WEIR_CHECK_OK(write_to(fd(), "cpu.max", std::to_string(quota) + " " + std::to_string(kCpuPeriodUs)));
  }
  if (bounds.processes) {
    WEIR_CHECK_OK(write_to(fd(), "pids.max", std::to_string(std::uint64_t{*bounds.processes} + 1)));
  }
  return {};
}

Cgroup::Hits Cgroup::hits() const {
  if (!folder_.valid()) return {};
  return {.memory_kills = counter(fd(), "memory.events", "oom_kill"),
          .processes_refused = counter(fd(), "pids.events", "max")};
}

void Cgroup::remove() {
  if (folder_.valid()) remove_folder(place_.folder + "/" + name_, folder_.get());
  folder_.reset();
  if (aside_.valid()) step_back();
}

// As it was: this process in its own cgroup, which has no controllers below it.
void Cgroup::step_back() {
  const auto folder = open_folder(place_.folder);
  // What fails here leaves an empty cgroup in one that the caller gave to this process alone.
  if (folder && write_to(folder->get(), "cgroup.subtree_control", changes(place_.controllers, '-')) &&
      write_to(folder->get(), "cgroup.procs", "0")) {
    ::rmdir((place_.folder + "/" + name_ + std::string(kAside)).c_str());
  }
  aside_.reset();
}

}  // namespace weir::sandbox
