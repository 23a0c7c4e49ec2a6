#include "sandbox/identity.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>

#include "sys/errno.h"
#include "sys/files.h"

namespace weir::sandbox {
namespace {

constexpr const char* kFolder = "/run/weir/ids";
constexpr std::size_t kMaxIdMap = 64 * 1024;  // 340 lines is what the kernel takes

// Whether all ids of all slots exist in this map of our own user namespace.
bool covers_all_slots(const std::string& map) {
  std::istringstream lines(map);
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  std::uint64_t count = 0;
  constexpr std::uint64_t kEnd = Identity::kFirstId + std::uint64_t{Identity::kSlots} * Identity::kRangeSize;
  while (lines >> inside >> outside >> count) {
    if (inside <= Identity::kFirstId && inside + count >= kEnd) return true;
  }
  return false;
}

bool owns_all_ids() {
  if (::geteuid() != 0) return false;
  const auto uids = sys::read_file("/proc/self/uid_map", kMaxIdMap);
  const auto gids = sys::read_file("/proc/self/gid_map", kMaxIdMap);
  return uids && gids && covers_all_slots(*uids) && covers_all_slots(*gids);
}

Result<sys::OwnedFd> open_lock_folder() {
  for (const char* folder : {"/run/weir", kFolder}) {
    if (::mkdir(folder, 0755) != 0 && errno != EEXIST) {
      return sys::errno_error(std::string("cannot make ") + folder + " (which user ids are taken)");
    }
  }
  return sys::checked_fd(::open(kFolder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                         std::string("cannot open ") + kFolder);
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
  WEIR_TRY(const sys::OwnedFd folder, open_lock_folder());
  // Starting at a place of our own, so that many sandboxes do not try the same taken ranges one after the other.
  const std::uint32_t start = static_cast<std::uint32_t>(::getpid()) % kSlots;
  for (std::uint32_t step = 0; step < kSlots; ++step) {
    const std::uint32_t slot = (start + step) % kSlots;
    const std::string name = std::to_string(slot);
    WEIR_TRY(sys::OwnedFd lock,
             sys::checked_fd(::openat(folder.get(), name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600),
                             std::string("cannot open ") + kFolder + "/" + name));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) {
      Identity identity(Kind::range, user, kFirstId + slot * kRangeSize);
      identity.lock_ = std::move(lock);
      return identity;
    }
    if (errno != EWOULDBLOCK) return sys::errno_error(std::string("cannot lock ") + kFolder + "/" + name);
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
