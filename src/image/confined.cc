#include "image/confined.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <new>

#include "image/limits.h"
#include "sys/child_process.h"
#include "sys/errno.h"
#include "sys/id_mapped.h"
#include "sys/mounts.h"
#include "sys/pipe.h"
#include "sys/seccomp_filter.h"

namespace weir::image {
namespace {

constexpr std::uint64_t kNamespaces =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
constexpr std::uint64_t kTargetAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
// remove_below() holds two descriptors per folder on its way down.
constexpr rlim_t kMaxDescriptors = 2 * wire::kMaxTarDepth + 64;

// What the process is to do once it is confined, with its folder open as a root.
using Work = std::function<Result<std::string>(const Source& source, sys::OwnedFd root)>;

// Folders come as detached mounts where the caller can make them; otherwise the process takes them by their paths,
// before it gives up seeing them.
struct Job {
  std::string target;
  sys::OwnedFd target_mount;
  std::string path;  // of the source; empty: there is none
  Source source;
  Owners owners;
  const Work& work;
  int output = -1;  // of the caller, kept open
};

// By a read-only mount of its own: a descriptor of the caller's file could change its mode.
Result<> take_source(Job& job) {
  WEIR_TRY(const sys::OwnedFd named, sys::open_without_links(job.path));
  // With what is mounted below it, so that it is met, and refused, instead of an empty folder.
  WEIR_TRY(sys::OwnedFd mount,
           sys::clone_mount(named.get(), "", sys::Submounts::included, kTargetAttributes | MOUNT_ATTR_RDONLY));
  if (job.source.kind != Source::Kind::file) {
    job.source.fd = std::move(mount);
    return {};
  }
  const std::string again = "/proc/self/fd/" + std::to_string(mount.get());
  WEIR_TRY(job.source.fd,
           sys::checked_fd(::open(again.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), "cannot read " + job.path));
  struct stat status{};
  if (::fstat(job.source.fd.get(), &status) != 0) return sys::errno_error("cannot look at " + job.path);
  if (!S_ISREG(status.st_mode)) return fail(job.path + " is not a file any more");
  job.source.size = static_cast<std::uint64_t>(status.st_size);
  return {};
}

Result<> change_root(const sys::OwnedFd& root) {
  WEIR_CHECK_OK(sys::attach_mount(root, AT_FDCWD, "/"));
  if (::fchdir(root.get()) != 0) return sys::errno_error("cannot enter the folder of the image");
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return sys::errno_error("cannot change the root");
  if (::umount2(".", MNT_DETACH) != 0) return sys::errno_error("cannot let go of the host's root");
  if (::chdir("/") != 0) return sys::errno_error("cannot enter the folder of the image");
  return {};
}

Result<> drop_capabilities() {
  constexpr std::array kKept = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID};
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> data{};
  for (const int capability : kKept) data[0].permitted |= 1u << capability;
  data[0].effective = data[0].permitted;
  if (::syscall(SYS_capset, &header, data.data()) != 0) return sys::errno_error("cannot drop capabilities");
  return {};
}

Result<> set_limit(decltype(RLIMIT_AS) what, rlim_t value) {
  const rlimit limit{.rlim_cur = value, .rlim_max = value};
  if (::setrlimit(what, &limit) != 0) return sys::errno_error("cannot limit the process that unpacks");
  return {};
}

Result<> set_limits() {
#ifndef WEIR_SANITIZED  // whose shadow is larger than any limit
  WEIR_CHECK_OK(set_limit(RLIMIT_AS, kMaxMemory));
#endif
  WEIR_CHECK_OK(set_limit(RLIMIT_FSIZE, kMaxBytes));
  WEIR_CHECK_OK(set_limit(RLIMIT_NOFILE, kMaxDescriptors));
  // The kernel ends it with SIGKILL; a softer signal the first process of a namespace would not get.
  WEIR_CHECK_OK(set_limit(RLIMIT_CPU, kMaxCpuSeconds));
  return set_limit(RLIMIT_CORE, 1);
}

void allow(sys::SeccompFilter& filter, std::initializer_list<long> calls) {
  for (const long call : calls) filter.add(call, sys::SeccompFilter::Action::allow());
}

Result<> filter_calls() {
  using Filter = sys::SeccompFilter;
  Filter filter(Filter::Action::kill_process(), Filter::Action::kill_process());
  allow(filter, {SYS_read, SYS_pread64, SYS_write, SYS_close, SYS_openat2, SYS_fstat, SYS_newfstatat, SYS_getdents64,
                 SYS_readlinkat, SYS_flistxattr, SYS_fgetxattr, SYS_fcntl, SYS_lseek});
  allow(filter, {SYS_mkdirat, SYS_symlinkat, SYS_linkat, SYS_unlinkat, SYS_fchown, SYS_fchownat, SYS_fchmod,
                 SYS_ftruncate, SYS_fsetxattr, SYS_utimensat});
  // The mark of an overlay, which is no device.
  filter.add(SYS_mknodat, Filter::Action::allow(),
             {{.argument = 2, .mask = S_IFMT, .value = S_IFCHR}, {.argument = 3, .mask = ~0ull, .value = 0}});
  constexpr std::uint64_t kExecutable = PROT_EXEC;
  filter.add(SYS_mmap, Filter::Action::allow(), {{.argument = 2, .mask = kExecutable, .value = 0}});
  filter.add(SYS_mprotect, Filter::Action::allow(), {{.argument = 2, .mask = kExecutable, .value = 0}});
  allow(filter, {SYS_munmap, SYS_mremap, SYS_brk, SYS_madvise, SYS_futex, SYS_getrandom, SYS_clock_gettime,
                 SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_restart_syscall, SYS_exit, SYS_exit_group});
#ifdef WEIR_SANITIZED
  allow(filter, {SYS_sigaltstack, SYS_getpid, SYS_gettid, SYS_tgkill, SYS_rt_sigaction, SYS_sched_yield});
#endif
  return filter.install();
}

// A death signal is forgotten when the ids change; a parent that died before it was set again is seen by the pipe that
// only it can write to.
Result<> die_with_parent(const sys::OwnedFd& parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return sys::errno_error("cannot tie the process to its parent");
  pollfd writer{.fd = parent.get(), .events = 0, .revents = 0};
  if (::poll(&writer, 1, 0) != 0) return fail("weir has ended");
  return {};
}

// Held while one works in the folder, so that nobody else does: whoever sweeps comes through here too.
Result<sys::OwnedFd> lock_root() {
  WEIR_TRY(sys::OwnedFd lock,
           sys::checked_fd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "cannot open the folder"));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return sys::errno_error("another process works in the folder");
  return lock;
}

// `parent`: a pipe whose only writer is weir.
Result<std::string> confine_and_work(Job& job, const sys::OwnedFd& parent) {
  if (job.target.empty()) {
    WEIR_TRY(job.target_mount,
             sys::new_filesystem("tmpfs", {{"mode", "0755"}, {"uid", "0"}, {"gid", "0"}, {"size", "4k"}},
                                 kTargetAttributes));
  } else if (!job.target_mount.valid()) {
    WEIR_TRY(const sys::OwnedFd folder, sys::open_without_links(job.target));
    WEIR_TRY(job.target_mount, sys::clone_mount(folder.get(), "", sys::Submounts::left_out, kTargetAttributes));
  }
  if (!job.path.empty() && !job.source.fd.valid()) WEIR_CHECK_OK(take_source(job));
  WEIR_CHECK_OK(change_root(job.target_mount));
  if (job.owners == Owners::all && ::setgroups(0, nullptr) != 0) return sys::errno_error("cannot give up groups");
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) return sys::errno_error("cannot become root inside");
  WEIR_TRY(const sys::OwnedFd lock, lock_root());
  WEIR_TRY(sys::OwnedFd root, sys::checked_fd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), "cannot open the folder"));
  if (job.owners == Owners::all && (::chown("/", 0, 0) != 0 || ::chmod("/", 0755) != 0))
    return sys::errno_error("cannot take over the folder of the image");
  ::umask(0);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return sys::errno_error("cannot make the process undumpable");
  WEIR_CHECK_OK(set_limits());
  WEIR_CHECK_OK(drop_capabilities());
  WEIR_CHECK_OK(die_with_parent(parent));
  WEIR_CHECK_OK(filter_calls());
  return job.work(job.source, std::move(root));
}

std::string answer(const Result<std::string>& made) {
  if (made) return "v" + *made;
  return "e" + made.error().what() + '\0' + made.error().remedy();
}

[[noreturn]] void child(Job& job, sys::Pipe& go, sys::Pipe& result) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_NAME, "weir-unpack", 0, 0, 0);
  go.writing.reset();
  std::vector<int> kept = {go.reading.get(), result.writing.get()};
  for (const sys::OwnedFd* fd : {&job.target_mount, &job.source.fd}) {
    if (fd->valid()) kept.push_back(fd->get());
  }
  if (job.output >= 0) kept.push_back(job.output);
  char begin = 0;
  // Nothing to read: the parent is gone, or could not write the maps.
  if (!sys::close_all_but(std::move(kept)) || ::read(go.reading.get(), &begin, 1) != 1) ::_exit(1);
  std::string text;
  try {
    text = answer(confine_and_work(job, go.reading));
  } catch (const std::bad_alloc&) {
    text = answer(fail("it needs more memory than " + std::to_string(kMaxMemory >> 20) + " MiB to unpack"));
  }
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(result.writing.get(), text.data() + done, text.size() - done);
    if (written <= 0) ::_exit(1);
    done += static_cast<std::size_t>(written);
  }
  ::_exit(0);
}

// The process may have been taken over by what it read: its answer is text with a bound and nothing else.
Result<std::string> receive(const sys::OwnedFd& reader) {
  std::string text;
  std::array<char, 64 * 1024> buffer{};
  while (true) {
    const ssize_t got = ::read(reader.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys::errno_error("cannot read from the process that unpacks");
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kMaxDescription) return fail("the process that unpacks said too much");
  }
}

Result<std::string> understood(const std::string& text, std::optional<int> status) {
  if (text.starts_with('v')) return text.substr(1);
  if (text.starts_with('e')) {
    const std::size_t end = std::min(text.find('\0'), text.size());
    return std::unexpected(Error(text.substr(1, end - 1)).with_remedy(end < text.size() ? text.substr(end + 1) : ""));
  }
  if (status && WIFSIGNALED(*status)) {
    return fail(std::string("the process that unpacks was ended by SIG") + ::sigabbrev_np(WTERMSIG(*status)) +
                ": the image asked more of it than it may do");
  }
  return fail("the process that unpacks ended without an answer");
}

Result<std::string> run(Job& job, const Ids& ids) {
  WEIR_TRY(sys::Pipe go, sys::make_pipe());
  WEIR_TRY(sys::Pipe result, sys::make_pipe());
  WEIR_TRY(sys::ChildProcess process, sys::ChildProcess::clone(kNamespaces));
  if (process.in_child()) child(job, go, result);
  go.reading.reset();
  result.writing.reset();
  WEIR_CHECK_OK(ids.apply_to(process.pid()));
  if (::write(go.writing.get(), "g", 1) != 1) return sys::errno_error("cannot start the process that unpacks");
  WEIR_TRY(const std::string text, receive(result.reading));
  return understood(text, process.wait());
}

// Maps ids 0..65535 of a mount to those of the process, so that its root may read what the caller's root may.
Result<> take_mounts(Job& job, const Ids& ids) {
  if (ids.kind != Ids::Kind::root) return {};
  if (job.target.empty()) return job.path.empty() ? Result<>() : take_source(job);
  WEIR_TRY(const sys::OwnedFd target, sys::open_without_links(job.target));
  if (::fchownat(target.get(), "", kStoredFirst, kStoredFirst, AT_EMPTY_PATH) != 0)
    return sys::errno_error("cannot prepare " + job.target);
  WEIR_TRY(job.target_mount, sys::clone_mount(target.get(), "", sys::Submounts::left_out, kTargetAttributes));
  // Whoever works with other ids than those on disk sees the folder through a mount that turns one into the other.
  if (const std::uint32_t first = ids.maps.uids.front().outside; first != kStoredFirst) {
    const std::vector<sys::IdRange> map = {{.inside = kStoredFirst, .outside = first, .count = kIdCount}};
    WEIR_CHECK_OK(sys::map_ids(job.target_mount, map, map, job.target));
  }
  if (job.path.empty()) return {};
  WEIR_CHECK_OK(take_source(job));
  if (job.source.kind == Source::Kind::file) return {};
  return sys::map_ids(job.source.fd, {{.inside = 0, .outside = kStoredFirst, .count = kIdCount}},
                      {{.inside = 0, .outside = kStoredFirst, .count = kIdCount}}, job.path);
}

}  // namespace

Result<Description> unpack_confined(const std::string& source, Source::Kind kind, const std::string& target,
                                    const Ids& ids) {
  const Work work = [&](const Source& from, sys::OwnedFd root) -> Result<std::string> {
    WEIR_TRY(const Description made, unpack(from, std::move(root), ids.owners()));
    return encode(made);
  };
  Job job{.target = target, .target_mount = {}, .path = source, .source = {}, .owners = ids.owners(), .work = work};
  WEIR_TRY(const sys::OwnedFd fd, sys::open_without_links(source));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return sys::errno_error("cannot look at " + source);
  if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) return fail(source + " is neither a file nor a folder");
  if (S_ISDIR(status.st_mode) != (kind != Source::Kind::file)) return fail(source + " has just been replaced");
  job.source.kind = kind;
  if (kind == Source::Kind::tree && ids.owners() == Owners::all) {
    WEIR_TRY(job.source.unmapped, ids_of_unmapped());
  }
  WEIR_CHECK_OK(take_mounts(job, ids));
  WEIR_TRY(const std::string text, run(job, ids));
  return decode_description(text);
}

Result<std::string> work_confined(const ConfinedInput& from, const std::string& target, const Ids& ids, int output,
                                  const ConfinedWork& work) {
  const Work bound = [&](const Source& source, sys::OwnedFd root) { return work(source, std::move(root), output); };
  Job job{.target = target,
          .target_mount = {},
          .path = from.file,
          .source = {},
          .owners = ids.owners(),
          .work = bound,
          .output = output};
  if (from.folder >= 0) {
    job.source.kind = Source::Kind::tree;
    WEIR_TRY(job.source.fd,
             sys::checked_fd(::fcntl(from.folder, F_DUPFD_CLOEXEC, 3), "cannot take what is to be read"));
  }
  WEIR_CHECK_OK(take_mounts(job, ids));
  return run(job, ids);
}

Result<> empty_confined(const std::string& target, const Ids& ids) {
  const Work work = [&](const Source&, sys::OwnedFd root) -> Result<std::string> {
    WEIR_CHECK_OK(remove_below(root.get(), "", {}));
    return std::string();
  };
  Job job{.target = target, .target_mount = {}, .path = {}, .source = {}, .owners = ids.owners(), .work = work};
  WEIR_CHECK_OK(take_mounts(job, ids));
  WEIR_TRY(const std::string nothing, run(job, ids));
  static_cast<void>(nothing);
  return {};
}

}  // namespace weir::image
