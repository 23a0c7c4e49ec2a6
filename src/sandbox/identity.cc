#include "sandbox/identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "sys/errno.h"
#include "sys/files.h"

namespace weir::sandbox {
namespace {

constexpr const char* kFolder = "/run/weir";
constexpr const char* kLocks = "/run/weir/id-ranges";  // empty; byte N is locked while range N is taken
constexpr std::size_t kMaxIdMap = 64 * 1024;           // 340 lines is what the kernel takes

// The next number of a map, or nothing at its end. The kernel writes numbers, spaces and newlines.
std::optional<std::uint64_t> next_number(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size()));
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

// Whether all ids of all slots exist in this map of our own user namespace.
bool covers_all_slots(std::string_view map) {
  constexpr std::uint64_t kEnd = Identity::kFirstId + std::uint64_t{Identity::kSlots} * Identity::kRangeSize;
  while (true) {
    const auto inside = next_number(map);
    const auto outside = next_number(map);
    const auto count = next_number(map);
    if (!inside || !outside || !count) return false;
    if (*inside <= Identity::kFirstId && *inside + *count >= kEnd) return true;
  }
}

bool owns_all_ids() {
  if (::geteuid() != 0) return false;
  const auto uids = sys::read_file("/proc/self/uid_map", kMaxIdMap);
  const auto gids = sys::read_file("/proc/self/gid_map", kMaxIdMap);
  return uids && gids && covers_all_slots(*uids) && covers_all_slots(*gids);
}

Result<sys::OwnedFd> open_locks() {
  const auto open = [] { return sys::OwnedFd(::open(kLocks, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)); };
  sys::OwnedFd locks = open();
  if (!locks.valid() && errno == ENOENT) {
    if (::mkdir(kFolder, 0755) != 0 && errno != EEXIST)
      return sys::errno_error(std::string("cannot make ") + kFolder + " (which user ids are taken)");
    locks = open();
  }
  if (!locks.valid()) return sys::errno_error(std::string("cannot open ") + kLocks);
  return locks;
}

Result<> write_map(pid_t process, const char* name, const std::string& text) {
  const std::string path = "/proc/" + std::to_string(process) + "/" + name;
  WEIR_TRY(const sys::OwnedFd fd, sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC), "cannot open " + path));
  if (::write(fd.get(), text.data(), text.size()) < 0) {
    return sys::errno_error("cannot write the " + std::string(name) + " of the sandbox");
  }
  return {};
}

std::string map_line(std::uint32_t inside, std::uint32_t outside, std::uint32_t count) {
  return std::to_string(inside) + " " + std::to_string(outside) + " " + std::to_string(count) + "\n";
}

}  // namespace

Identity::Identity(Kind kind, const User& user, std::uint32_t first) : kind_(kind) {
  if (kind == Kind::range) {
    host_uid_ = first + user.uid;
    host_gid_ = first + user.gid;
    uid_map_ = map_line(0, first, kRangeSize);
    gid_map_ = uid_map_;
  } else {
    host_uid_ = ::geteuid();
    host_gid_ = ::getegid();
    uid_map_ = map_line(user.uid, host_uid_, 1);
    gid_map_ = map_line(user.gid, host_gid_, 1);
  }
}

Identity::Kind Identity::kind_of_caller() {
  return owns_all_ids() ? Kind::range : Kind::own_id;
}

Result<Identity> Identity::claim(const User& user) {
  if (kind_of_caller() == Kind::own_id) return Identity(Kind::own_id, user, 0);
  return claim_range(user);
}

Result<Identity> Identity::claim_range(const User& user) {
  WEIR_TRY(sys::OwnedFd locks, open_locks());
  // Starting at a place of our own, so that many sandboxes do not try the same taken ranges one after the other.
  const std::uint32_t start = static_cast<std::uint32_t>(::getpid()) % kSlots;
  for (std::uint32_t step = 0; step < kSlots; ++step) {
    const std::uint32_t slot = (start + step) % kSlots;
    // The lock belongs to this opening of the file, not to the process: it goes when the last copy is closed.
    struct flock byte{};
    byte.l_type = F_WRLCK;
    byte.l_whence = SEEK_SET;
    byte.l_start = slot;
    byte.l_len = 1;
    if (::fcntl(locks.get(), F_OFD_SETLK, &byte) == 0) {
      Identity identity(Kind::range, user, kFirstId + slot * kRangeSize);
      identity.lock_ = std::move(locks);
      return identity;
    }
    if (errno != EAGAIN && errno != EACCES) return sys::errno_error(std::string("cannot lock ") + kLocks);
  }
  return fail("all " + std::to_string(kSlots) + " ranges of user ids are taken by running sandboxes", EAGAIN);
}

Result<> Identity::apply_to(pid_t process) const {
  // Without "deny" the kernel lets nobody unprivileged write a gid map (since 3.19). The caller's supplementary groups
  // stay: an ordinary user cannot give them up.
  if (kind_ == Kind::own_id) WEIR_CHECK_OK(write_map(process, "setgroups", "deny"));
  WEIR_CHECK_OK(write_map(process, "uid_map", uid_map_));
  return write_map(process, "gid_map", gid_map_);
}

}  // namespace weir::sandbox
