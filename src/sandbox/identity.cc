#include "sandbox/identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/errno.h"

namespace weir::sandbox {
namespace {

constexpr const char* kFolder = "/run/weir";
constexpr const char* kLocks = "/run/weir/id-ranges";  // empty; byte N is locked while range N is taken

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

}  // namespace

Identity::Identity(Kind kind, const User& user, sys::IdMaps maps) : kind_(kind), maps_(std::move(maps)) {
  for (const auto& [inside, outside, count] : maps_.uids) {
    if (user.uid >= inside && user.uid - inside < count) host_uid_ = outside + (user.uid - inside);
  }
  for (const auto& [inside, outside, count] : maps_.gids) {
    if (user.gid >= inside && user.gid - inside < count) host_gid_ = outside + (user.gid - inside);
  }
}

Identity::Kind Identity::kind_of_caller() {
  return sys::owns_ids(kFirstId, std::uint64_t{kSlots} * kRangeSize) ? Kind::range : Kind::own_id;
}

Result<Identity> Identity::claim(const Spec& spec) {
  const User& user = spec.user;
  if (kind_of_caller() == Kind::range) return claim_range(user);
  if (spec.image && spec.image->delegated) return Identity(Kind::delegated, user, *spec.image->delegated);
  return Identity(Kind::own_id, user,
                  {.uids = {{.inside = user.uid, .outside = ::geteuid(), .count = 1}},
                   .gids = {{.inside = user.gid, .outside = ::getegid(), .count = 1}}});
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
      const std::vector<sys::IdRange> range = {
          {.inside = 0, .outside = kFirstId + slot * kRangeSize, .count = kRangeSize}};
      Identity identity(Kind::range, user, {.uids = range, .gids = range});
      identity.lock_ = std::move(locks);
      return identity;
    }
    if (errno != EAGAIN && errno != EACCES) return sys::errno_error(std::string("cannot lock ") + kLocks);
  }
  return fail("all " + std::to_string(kSlots) + " ranges of user ids are taken by running sandboxes", EAGAIN);
}

Result<Identity> Identity::shared() const {
  Identity same(kind_, {}, maps_);
  same.host_uid_ = host_uid_;
  same.host_gid_ = host_gid_;
  if (!lock_.valid()) return same;
  WEIR_TRY(same.lock_, sys::checked_fd(::fcntl(lock_.get(), F_DUPFD_CLOEXEC, 0), "cannot share a range of ids"));
  return same;
}

Result<> Identity::apply_to(pid_t process) const {
  return kind_ == Kind::delegated ? sys::write_id_maps_by_helpers(process, maps_) : sys::write_id_maps(process, maps_);
}

}  // namespace weir::sandbox
