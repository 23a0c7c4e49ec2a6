#include "sandbox/confinement/confinement.h"

#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "sys/errno.h"

namespace weir::sandbox {
namespace {

constexpr std::uint64_t bit(int capability) {
  return std::uint64_t{1} << capability;
}

// Root inside may change owners and users among the ids of its own sandbox and nothing else. Not here, although a
// container engine gives them: SYS_CHROOT, MKNOD, SETFCAP, AUDIT_WRITE (of no use here) and NET_RAW (sockets that the
// gateway would refuse anyway). Never: SYS_ADMIN, NET_ADMIN, SYS_PTRACE.
constexpr std::uint64_t kRootCapabilities = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER) | bit(CAP_FSETID) |
                                            bit(CAP_KILL) | bit(CAP_SETGID) | bit(CAP_SETUID) |
                                            bit(CAP_NET_BIND_SERVICE);

Result<> drop_bounding_set(std::uint64_t keep) {
  for (int capability = 0; capability < 64; ++capability) {
    if ((keep & bit(capability)) != 0) continue;
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    // The first number the kernel does not know ends the list.
    if (errno == EINVAL) return {};
    return sys::errno_error("cannot give up capability " + std::to_string(capability));
  }
  return {};
}

Result<> become(const User& user) {
  if (::setgroups(0, nullptr) != 0) return sys::errno_error("cannot give up groups");
  if (::setresgid(user.gid, user.gid, user.gid) != 0) return sys::errno_error("cannot become the sandbox's group");
  if (::setresuid(user.uid, user.uid, user.uid) != 0) return sys::errno_error("cannot become the sandbox's user");
  return {};
}

Result<> set_capabilities(std::uint64_t keep) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> data{};
  for (std::size_t word = 0; word < data.size(); ++word) {
    data[word].permitted = static_cast<std::uint32_t>(keep >> (32 * word));
    data[word].effective = data[word].permitted;
  }
  if (::syscall(SYS_capset, &header, data.data()) != 0) return sys::errno_error("cannot give up capabilities");
  return {};
}

}  // namespace

Result<> confine(const User& user, Identity::Kind identity, Filtered filtered) {
  const std::uint64_t keep = user.uid == 0 ? kRootCapabilities : 0;
  WEIR_CHECK_OK(drop_bounding_set(keep));
  if (identity != Identity::Kind::own_id) WEIR_CHECK_OK(become(user));
  WEIR_CHECK_OK(set_capabilities(keep));
  // 1, not 0: a core_pattern that pipes into a program of the host ignores 0 but not 1, and 1 byte is no core file.
  const rlimit no_core{.rlim_cur = 1, .rlim_max = 1};
  if (::setrlimit(RLIMIT_CORE, &no_core) != 0) return sys::errno_error("cannot switch core dumps off");
  // Init's memory is a copy of the supervisor's: nobody inside reads it, traces it or sees its descriptors.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return sys::errno_error("cannot protect init");
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return sys::errno_error("cannot tie init to the supervisor");
  return guest_filter(filtered).install();
}

}  // namespace weir::sandbox
