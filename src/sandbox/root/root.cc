#include "sandbox/root/root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "sandbox/limits/disk_limit.h"
#include "sandbox/root/etc_files.h"
#include "sandbox/root/image_root.h"
#include "sandbox/root/root_files.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/mounts.h"

namespace weir::sandbox {
namespace {

constexpr std::uint64_t kReadOnly = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
constexpr unsigned kNoPrograms = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

Result<> take_host_folder(const std::string& host_path, const std::string& path, WaitingMounts& mounts) {
  WEIR_CHECK_OK(make_folder(path, 0755));
  WEIR_TRY(sys::OwnedFd mount, sys::clone_mount(AT_FDCWD, host_path, sys::Submounts::included, kReadOnly));
  mounts.push_back({.mount = std::move(mount), .path = path});
  return {};
}

Result<> take_programs(WaitingMounts& mounts) {
  WEIR_CHECK_OK(take_host_folder("/usr", "usr", mounts));
  // Links into /usr on a merged system, folders on others.
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    const std::string host_path = std::string("/") + name;
    struct stat status{};
    if (::lstat(host_path.c_str(), &status) != 0) continue;
    WEIR_CHECK_OK(S_ISLNK(status.st_mode) ? copy_link(host_path, name) : take_host_folder(host_path, name, mounts));
  }
  return {};
}

// Distributions mark their Python as theirs (PEP 668) and pip then refuses even the user site. Nothing of the
// distribution can be touched in here; a marker that is not a regular file does not count. Asking for each version is
// cheaper than reading the folder.
Result<> allow_pip() {
  constexpr int kFirst = 9;  // older ones are older than the marker
  constexpr int kLast = 29;
  if (::access("/usr/bin/python3", F_OK) != 0) return {};
  for (int minor = kFirst; minor <= kLast; ++minor) {
    const std::string marker = "usr/lib/python3." + std::to_string(minor) + "/EXTERNALLY-MANAGED";
    if (::access(marker.c_str(), F_OK) == 0) WEIR_CHECK_OK(sys::bind_file("/dev/null", marker.c_str()));
  }
  return {};
}

Result<> make_own_programs() {
  WEIR_CHECK_OK(make_folder("run/weir", 0755));
  WEIR_CHECK_OK(make_folder(kOwnPrograms + 1, 0755));
  if (::access("/usr/bin/python", X_OK) == 0 || ::access("/usr/bin/python3", X_OK) != 0) return {};
  return make_link("/usr/bin/python3", std::string(kOwnPrograms + 1) + "/python");
}

Result<> make_user_folders(const User& user) {
  constexpr mode_t kForAll = 01777;
  WEIR_CHECK_OK(make_folder("tmp", kForAll));
  WEIR_CHECK_OK(make_folder("run", 0755));
  WEIR_CHECK_OK(make_folder("var", 0755));
  WEIR_CHECK_OK(make_folder("var/tmp", kForAll));
  WEIR_CHECK_OK(make_folder("root", 0700));
  WEIR_TRY(const sys::OwnedFd home, mount_point(user.home, MountPointKind::folder));
  const std::string path = user.home.substr(1);
  if (::chmod(path.c_str(), 0700) != 0) return sys::errno_error("cannot protect " + user.home);
  WEIR_CHECK_OK(give_to(path, user.uid, user.gid));
  return give_to("run", user.uid, user.gid);
}

Result<> make_devices() {
  for (const char* name : {"null", "zero", "full", "random", "urandom", "tty"}) {
    const std::string path = std::string("dev/") + name;
    WEIR_CHECK_OK(make_file(path, ""));
    WEIR_CHECK_OK(sys::bind_file(("/" + path).c_str(), path.c_str()));
  }
  WEIR_CHECK_OK(make_link("/proc/self/fd", "dev/fd"));
  WEIR_CHECK_OK(make_link("/proc/self/fd/0", "dev/stdin"));
  WEIR_CHECK_OK(make_link("/proc/self/fd/1", "dev/stdout"));
  WEIR_CHECK_OK(make_link("/proc/self/fd/2", "dev/stderr"));
  WEIR_CHECK_OK(make_link("pts/ptmx", "dev/ptmx"));
  WEIR_CHECK_OK(make_folder("dev/shm", 01777));
  WEIR_CHECK_OK(make_folder("dev/pts", 0755));
  // Always an instance of its own (since 4.7).
  WEIR_TRY(const sys::OwnedFd terminals, sys::new_filesystem("devpts", {{"ptmxmode", "0666"}, {"mode", "0620"}},
                                                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
  return sys::attach_mount(terminals, AT_FDCWD, "dev/pts");
}

// What /proc tells about the host rather than the sandbox, or does to it. Most of it only the host's root may read; the
// mask is the second line.
constexpr std::array kMaskedFiles = {
    "bootconfig", "cmdline",     "config.gz", "interrupts",    "iomem",      "ioports",     "kallsyms",      "kcore",
    "key-users",  "keys",        "kmsg",      "kpagecgroup",   "kpagecount", "kpageflags",  "latency_stats", "modules",
    "mtrr",       "sched_debug", "slabinfo",  "sysrq-trigger", "timer_list", "timer_stats", "vmallocinfo",   "vmcore"};
constexpr std::array kMaskedFolders = {"acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "scsi"};

Result<> mask_files() {
  for (const char* name : kMaskedFiles) {
    const std::string path = std::string("proc/") + name;
    if (::mount("/dev/null", path.c_str(), nullptr, MS_BIND, nullptr) != 0 && errno != ENOENT)
      return sys::errno_error("cannot mask /" + path);
  }
  return {};
}

Result<> mask_folders() {
  WEIR_TRY(const sys::OwnedFd empty,
           sys::new_filesystem("tmpfs", {{"mode", "0555"}, {"size", "4k"}, {"nr_inodes", "2"}},
                               kNoPrograms | MOUNT_ATTR_RDONLY));
  std::string mask;  // where the empty folder is mounted: one file system serves all
  for (const char* name : kMaskedFolders) {
    const std::string path = std::string("proc/") + name;
    if (mask.empty()) {
      if (::access(path.c_str(), F_OK) != 0) continue;
      WEIR_CHECK_OK(sys::attach_mount(empty, AT_FDCWD, path));
      mask = path;
    } else if (::mount(mask.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0 && errno != ENOENT) {
      return sys::errno_error("cannot mask /" + path);
    }
  }
  return {};
}

// hidepid: a process sees what it may trace, which init is not: its memory is a copy of the supervisor's.
Result<> mount_proc() {
  WEIR_TRY(const sys::OwnedFd proc, sys::new_filesystem("proc", {{"hidepid", "invisible"}}, kNoPrograms));
  WEIR_CHECK_OK(sys::attach_mount(proc, AT_FDCWD, "proc"));
  WEIR_CHECK_OK(mask_files());
  WEIR_CHECK_OK(mask_folders());
  // uid 0 inside owns the settings of its network namespace, with or without capabilities.
  WEIR_TRY(const sys::OwnedFd settings,
           sys::clone_mount(AT_FDCWD, "proc/sys", sys::Submounts::left_out, kReadOnly | MOUNT_ATTR_NOEXEC));
  return sys::attach_mount(settings, AT_FDCWD, "proc/sys");
}

// A file system of its own: what an image or a share has in that place is covered, never written.
Result<> mount_script(const ScriptFile& script) {
  WEIR_TRY(const sys::OwnedFd folder, sys::new_filesystem("tmpfs", {{"mode", "0755"}, {"nr_inodes", "2"}},
                                                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  constexpr int kNew = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  const std::string what = "the script " + script.name + " inside";
  WEIR_TRY(const sys::OwnedFd file,
           sys::checked_fd(::openat(folder.get(), script.name.c_str(), kNew, 0444), "cannot make " + what));
  WEIR_CHECK_OK(sys::write_whole(file, what, as_bytes(script.content)));
  WEIR_TRY(const sys::OwnedFd point, mount_point(kScriptFolder, MountPointKind::folder));
  return sys::attach_mount(folder, point.get(), "");
}

// What is the host's, and the folders of the sandbox: made, but nothing mounted yet.
Result<> make_from_host(const Spec& spec, WaitingMounts& mounts) {
  WEIR_CHECK_OK(take_programs(mounts));
  WEIR_CHECK_OK(make_user_folders(spec.user));
  WEIR_CHECK_OK(make_own_programs());
  WEIR_CHECK_OK(make_etc(spec, mounts));
  return make_folder("proc", 0555);
}

Result<> mount_from_host(const WaitingMounts& mounts) {
  WEIR_CHECK_OK(attach(mounts));
  return allow_pip();
}

// The current folder, whatever is mounted below it later.
Result<> show_written(const RootPlan& plan) {
  if (!plan.spec.lives_on) return {};
  constexpr std::uint64_t kOnlyRead = kNoPrograms | MOUNT_ATTR_RDONLY;
  WEIR_TRY(const sys::OwnedFd tree, sys::clone_mount(AT_FDCWD, ".", sys::Submounts::left_out, kOnlyRead));
  return plan.written_taker(tree);
}

Result<> fill_from_host(const RootPlan& plan) {
  WaitingMounts mounts;
  WEIR_CHECK_OK(show_written(plan));
  WEIR_CHECK_OK(make_from_host(plan.spec, mounts));
  WEIR_CHECK_OK(make_folder("dev", 0755));
  return mount_from_host(mounts);
}

// Everything of weir's goes into the private layer while it is a file system of its own, so nothing that a stranger
// left below is followed, written to or mounted over. /dev comes without what is there, and from the tmpfs whose size
// is the sandbox's.
Result<> fill_layered(const RootPlan& plan) {
  WEIR_CHECK_OK(make_folder("dev", 0755));
  WEIR_TRY(const sys::OwnedFd devices,
           sys::clone_mount(AT_FDCWD, "dev", sys::Submounts::left_out, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  WEIR_TRY(const sys::OwnedFd layers, take_layers(plan.spec));
  WEIR_TRY(LayeredRoot root, LayeredRoot::begin(plan.spec, plan.lowers));
  WEIR_CHECK_OK(show_written(plan));
  WaitingMounts mounts;
  if (plan.spec.image) {
    WEIR_CHECK_OK(root.fill_over_image());
  } else {
    WEIR_CHECK_OK(give_to(".", plan.spec.user.uid, plan.spec.user.gid));
    WEIR_CHECK_OK(make_from_host(plan.spec, mounts));
    WEIR_CHECK_OK(make_folder("dev", 0755));
    WEIR_CHECK_OK(root.make_folders_for_mounts());
  }
  if (layers.valid()) WEIR_CHECK_OK(make_place_for_layers());
  WEIR_CHECK_OK(root.enter());
  WEIR_CHECK_OK(plan.spec.image ? Result<>() : mount_from_host(mounts));
  if (layers.valid()) WEIR_CHECK_OK(put_layers(layers));
  return sys::attach_mount(devices, AT_FDCWD, "dev");
}

}  // namespace

// "/" itself stays the host's root for this process until change_root(): a path that begins at the root does not look
// for mounts on the root.
Result<> begin_root(const Spec& spec) {
  ::umask(0);
  std::vector<sys::MountOption> options = tmpfs_bounds(spec.limits.disk_bytes);
  options.insert(options.end(),
                 {{"mode", "0755"}, {"uid", std::to_string(spec.user.uid)}, {"gid", std::to_string(spec.user.gid)}});
  WEIR_TRY(const sys::OwnedFd root, sys::new_filesystem("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  WEIR_CHECK_OK(sys::attach_mount(root, AT_FDCWD, "/"));
  if (::fchdir(root.get()) != 0) return sys::errno_error("cannot enter the new root");
  return {};
}

Result<> fill_root(const RootPlan& plan) {
  WEIR_CHECK_OK(is_layered(plan.spec) ? fill_layered(plan) : fill_from_host(plan));
  WEIR_CHECK_OK(make_devices());
  WEIR_CHECK_OK(mount_proc());
  WEIR_CHECK_OK(mount_shares(plan.shares, plan.spec, plan.layer_taker));
  WEIR_CHECK_OK(mount_tools(plan.tools));
  return plan.spec.script ? mount_script(*plan.spec.script) : Result<>();
}

// The host's root ends up on top of the new one at "/" and is let go of.
Result<> change_root() {
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return sys::errno_error("cannot change the root");
  if (::umount2(".", MNT_DETACH) != 0) return sys::errno_error("cannot let go of the host's root");
  if (::chdir("/") != 0) return sys::errno_error("cannot enter the new root");
  // A mount more than expected, and the host would show behind "..", which looks for mounts on the root.
  struct stat root{};
  struct stat above{};
  if (::stat("/", &root) != 0 || ::stat("/..", &above) != 0) return sys::errno_error("cannot look at the new root");
  if (root.st_dev != above.st_dev || root.st_ino != above.st_ino)
    return fail("the host's root is still in the sandbox");
  return {};
}

}  // namespace weir::sandbox
