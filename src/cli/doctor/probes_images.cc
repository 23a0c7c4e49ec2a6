// What images need beyond what every sandbox needs.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <tuple>

#include "cli/doctor/probe.h"
#include "image/ids.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/id_mapped.h"
#include "sys/mounts.h"
#include "sys/pipe.h"

namespace weir::cli {
namespace {

constexpr std::size_t kMaxTable = 16 * 1024 * 1024;

// A process in a new user namespace gets the maps that an import gives to its confined process.
Result<> use_ids(const image::Ids& ids) {
  WEIR_TRY(auto pipe, sys::make_pipe());
  auto& [watch, ready] = pipe;
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWUSER) == 0) std::ignore = ::write(ready.get(), "+", 1);
    ready.reset();
    wait_to_be_killed();
  }
  WEIR_CHECK_OK(sys::checked(child, "cannot start a child"));
  ready.reset();
  char said = 0;
  Result<> applied = ::read(watch.get(), &said, 1) == 1 ? ids.apply_to(child) : fail("cannot make a user namespace");
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return applied;
}

// Behind every range of the table: a range that two users have lets one of them change the other's files.
std::uint64_t first_free(const char* path) {
  const std::string table = sys::read_file(path, kMaxTable).value_or("");
  std::uint64_t free = 100'000;
  for (std::size_t begin = 0; begin < table.size();) {
    const std::size_t end = std::min(table.find('\n', begin), table.size());
    const std::string line = table.substr(begin, end - begin);
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    begin = end + 1;
    if (second == std::string::npos) continue;
    std::uint32_t start = 0;
    std::uint32_t count = 0;
    std::from_chars(line.data() + first + 1, line.data() + second, start);
    std::from_chars(line.data() + second + 1, line.data() + line.size(), count);
    free = std::max(free, std::uint64_t{start} + count);
  }
  return free;
}

std::string subordinate_remedy() {
  const std::uint64_t first = std::max(first_free("/etc/subuid"), first_free("/etc/subgid"));
  const std::string range = std::to_string(first) + "-" + std::to_string(first + image::kIdCount - 1);
  return "sudo usermod --add-subuids " + range + " --add-subgids " + range + " \"$(id -un)\"";
}

Result<std::string> probe_owners() {
  WEIR_TRY(const image::Ids ids, image::ids_of_caller());
  if (ids.kind != image::Ids::Kind::one) {
    WEIR_CHECK_OK(use_ids(ids));
    return std::to_string(image::kIdCount) + " ids from " + std::to_string(ids.maps.uids.front().outside) +
           (ids.kind == image::Ids::Kind::root ? ", given by root" : ", given by /etc/subuid and newuidmap");
  }
  const bool helpers = ::access("/usr/bin/newuidmap", X_OK) == 0 && ::access("/usr/bin/newgidmap", X_OK) == 0;
  const char* const missing = helpers ? "/etc/subuid and /etc/subgid give no 65,536 ids" : "there is no newuidmap";
  return std::unexpected(Error(std::string("all files of an image belong to the sandbox's user: ") + missing)
                             .with_remedy(helpers ? subordinate_remedy() : "sudo apt install uidmap"));
}

// The stored files of root's images have owners that nothing else has; a mount shows them as the image's.
Result<std::string> probe_store() {
  WEIR_TRY(const image::Ids ids, image::ids_of_caller());
  if (ids.kind != image::Ids::Kind::root) return "not needed: the images of an ordinary user keep their owners";
  const std::string place = ::access("/var/lib/weir", F_OK) == 0 ? "/var/lib/weir" : "/var/lib";
  WEIR_TRY(const sys::OwnedFd tree, sys::clone_mount(AT_FDCWD, place.c_str(), sys::Submounts::left_out, 0));
  if (auto mapped = sys::map_ids(tree, ids.maps.uids, ids.maps.gids, place); !mapped) {
    return std::unexpected(
        std::move(mapped)
            .error()
            .context("stored images cannot be run")
            .with_remedy("mount a file system that can (ext4, xfs, btrfs; tmpfs since kernel 6.3) at /var/lib/weir"));
  }
  return "mount_setattr on the file system of " + place;
}

constexpr std::array kProbes = {
    Probe{"owners in images", Need::improvement, Footing::user_namespace, probe_owners},
    Probe{"images as root", Need::feature, Footing::plain, probe_store},
};

}  // namespace

std::span<const Probe> image_probes() {
  return kProbes;
}

}  // namespace weir::cli
