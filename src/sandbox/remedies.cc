#include "sandbox/remedies.h"

#include <cerrno>
#include <string>
#include <string_view>

#include "sys/files.h"

namespace weir::sandbox {
namespace {

bool setting_is(const char* path, std::string_view value) {
  const auto text = sys::read_file(path, 64);
  return text && std::string_view(*text).substr(0, text->find('\n')) == value;
}

// Ubuntu lets the namespace be made and takes its capabilities away afterwards.
bool apparmor_forbids() {
  return setting_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1");
}

constexpr const char* kAppArmorRemedy =
    "AppArmor takes capabilities from unprivileged user namespaces: sudo sysctl -w "
    "kernel.apparmor_restrict_unprivileged_userns=0, or give weir an AppArmor profile that allows userns";

}  // namespace

Error with_clone_remedy(Error error) {
  if (setting_is("/proc/sys/user/max_user_namespaces", "0"))
    return std::move(error).with_remedy("user namespaces are off: sudo sysctl -w user.max_user_namespaces=15000");
  if (setting_is("/proc/sys/kernel/unprivileged_userns_clone", "0"))
    return std::move(error).with_remedy(
        "user namespaces are for root only: sudo sysctl -w kernel.unprivileged_userns_clone=1");
  switch (error.code()) {
    case ENOSPC:
    case EUSERS:
      return std::move(error).with_remedy(
          "a limit on namespaces is reached: raise user.max_user_namespaces and its like (sysctl user), or end "
          "other sandboxes");
    case EPERM:
      if (apparmor_forbids()) return std::move(error).with_remedy(kAppArmorRemedy);
      [[fallthrough]];
    case ENOSYS:
      return std::move(error).with_remedy(
          "something forbids new namespaces, in a container its seccomp profile: run the container with a profile that "
          "allows clone3 and unshare (docker: --security-opt seccomp=unconfined), or weir outside of it");
    case EINVAL:
      return std::move(error).with_remedy(
          "the kernel lacks a kind of namespace: user, net, pid, ipc, uts and cgroup "
          "namespaces must be built in");
    case EAGAIN:
      return std::move(error).with_remedy("a limit on processes is reached: ulimit -u, or kernel.pid_max");
    default:
      return error;
  }
}

Error with_set_up_remedy(Error error) {
  if (!error.remedy().empty()) return error;
  const bool forbidden = error.code() == EPERM || error.code() == EACCES;
  if (!forbidden) return error;
  if (apparmor_forbids()) return std::move(error).with_remedy(kAppArmorRemedy);
  if (error.what().find("a proc file system") != std::string::npos)
    return std::move(error).with_remedy(
        "/proc is masked here, as containers have it, and the kernel then gives nobody inside an unmasked one: run the "
        "container with --security-opt systempaths=unconfined, or weir outside of it");
  return error;
}

}  // namespace weir::sandbox
