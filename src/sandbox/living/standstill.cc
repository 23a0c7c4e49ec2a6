#include "sandbox/living/standstill.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "sys/folder.h"
#include "sys/reactor.h"

namespace weir::sandbox {
namespace {

constexpr std::uint64_t kPatienceMs = 2000;
constexpr long kBetweenLooksNs = 1'000'000;
// Who is stopped can be sent SIGCONT by who is not, after the look: a second look sees that.
constexpr int kLooks = 2;

bool is_number(std::string_view name) {
  return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
}

sys::Folder open_folder(int at, const char* name) {
  return sys::folder_of(sys::OwnedFd(::openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
}

// The letter behind the name, which is in parentheses and may hold any character (proc(5)). Nothing: it is gone.
std::optional<char> state_of(int tasks, const char* task) {
  const sys::OwnedFd file(::openat(tasks, (std::string(task) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 512> text{};
  const ssize_t got = file.valid() ? ::read(file.get(), text.data(), text.size()) : -1;
  if (got <= 0) return std::nullopt;
  const std::string_view line(text.data(), static_cast<std::size_t>(got));
  const std::size_t end = line.rfind(')');
  if (end == std::string_view::npos || end + 2 >= line.size()) return '?';
  return line[end + 2];
}

// Stopped, stopped for a tracer, or dead.
bool stands_still(char state) {
  return std::string_view("TtZX").find(state) != std::string_view::npos;
}

// Every thread: that of the process's number may have ended while others go on.
bool has_stopped(int proc, const std::string& pid) {
  const sys::Folder tasks = open_folder(proc, (pid + "/task").c_str());
  if (tasks == nullptr) return true;  // gone
  while (const dirent* task = sys::next_entry(tasks)) {
    const auto state = state_of(::dirfd(tasks.get()), task->d_name);
    if (state && !stands_still(*state)) return false;
  }
  return true;
}

Standstill look(const sys::OwnedFd& proc) {
  const sys::Folder folder = open_folder(proc.get(), ".");
  if (folder == nullptr) return {.code = errno};
  while (const dirent* entry = sys::next_entry(folder)) {
    const std::string name = entry->d_name;
    if (!is_number(name) || name == "1" || has_stopped(proc.get(), name)) continue;
    return {.code = ETIMEDOUT, .pid = static_cast<std::uint32_t>(std::stoul(name))};
  }
  return {.code = errno};
}

}  // namespace

Standstill stand_still(const sys::OwnedFd& proc) {
  const std::uint64_t deadline = sys::monotonic_ms() + kPatienceMs;
  for (int clean = 0;;) {
    if (::kill(-1, SIGSTOP) != 0 && errno != ESRCH) return {.code = errno};
    const Standstill seen = look(proc);
    clean = seen.code == 0 ? clean + 1 : 0;
    if (clean == kLooks || (seen.code != 0 && seen.code != ETIMEDOUT)) return seen;
    if (sys::monotonic_ms() >= deadline) return seen.code != 0 ? seen : Standstill{.code = ETIMEDOUT};
    const timespec pause{.tv_sec = 0, .tv_nsec = kBetweenLooksNs};
    if (clean == 0) ::nanosleep(&pause, nullptr);
  }
}

void go_on() {
  ::kill(-1, SIGCONT);
}

}  // namespace weir::sandbox
