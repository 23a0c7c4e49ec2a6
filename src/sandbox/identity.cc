#include "sandbox/identity.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/errno.h"

namespace weir::sandbox {
namespace {

constexpr const char* kFolder = "/run/weir/ids";

Result<sys::OwnedFd> open_lock_folder() {
  for (const char* folder : {"/run/weir", kFolder}) {
    if (::mkdir(folder, 0755) != 0 && errno != EEXIST) {
      return sys::errno_error(std::string("cannot make ") + folder + " (which user ids are taken)");
    }
  }
  return sys::checked_fd(::open(kFolder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                         std::string("cannot open ") + kFolder);
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
      const std::vector<sys::IdRange> range = {
          {.inside = 0, .outside = kFirstId + slot * kRangeSize, .count = kRangeSize}};
      Identity identity(Kind::range, user, {.uids = range, .gids = range});
      identity.lock_ = std::move(lock);
      return identity;
    }
    if (errno != EWOULDBLOCK) return sys::errno_error(std::string("cannot lock ") + kFolder + "/" + name);
  }
  return fail("all " + std::to_string(kSlots) + " ranges of user ids are taken by running sandboxes", EAGAIN);
}

Result<> Identity::apply_to(pid_t process) const {
  return kind_ == Kind::delegated ? sys::write_id_maps_by_helpers(process, maps_) : sys::write_id_maps(process, maps_);
}

}  // namespace weir::sandbox
