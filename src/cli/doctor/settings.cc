#include <algorithm>
#include <array>
#include <cerrno>

#include "cli/doctor/probe.h"
#include "sys/files.h"

namespace weir::cli {
namespace {

constexpr std::size_t kMaxSetting = 64 * 1024;  // /proc/self/status is the largest

constexpr std::array kSettings = {
    Setting{"/proc/sys/user/max_user_namespaces", "how many user namespaces may exist; 0 forbids them"},
    Setting{"/proc/sys/user/max_net_namespaces", "how many network namespaces may exist"},
    Setting{"/proc/sys/kernel/unprivileged_userns_clone", "0 forbids user namespaces to ordinary users (Debian)"},
    Setting{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1 takes the capabilities out of user namespaces of ordinary users (Ubuntu)"},
    Setting{"/proc/sys/kernel/modules_disabled", "1 forbids loading nft_tproxy, nft_reject_inet and tun on demand"},
    Setting{"/proc/sys/kernel/pid_max", "how many processes the machine can have, all sandboxes together"},
    Setting{"/proc/sys/kernel/core_pattern", "where crashes go; | starts a program outside"},
    Setting{"/proc/sys/fs/suid_dumpable", "2 lets root read dumps of processes that gave up privileges"},
    Setting{"/proc/sys/fs/pipe-user-pages-soft", "pages of pipes per user, shared by all gateways; 0 is no limit"},
    Setting{"/proc/sys/net/ipv4/ping_group_range", "groups that may ping without privilege; 1 0 is none"},
    Setting{kYama, "1 and more keep a process from tracing its siblings"},
    Setting{kTypingAllowed, "0 forbids typing into a terminal by ioctl"},
    Setting{kClockSource, "tsc is quick, hpet and acpi_pm are not"},
};

struct Cause {
  std::string_view path;
  std::string_view value;  // that forbids
  std::string_view remedy;
};

constexpr std::array kCauses = {
    Cause{"/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=65536"},
    Cause{"/proc/sys/user/max_net_namespaces", "0", "sudo sysctl -w user.max_net_namespaces=65536"},
    Cause{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
    Cause{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
          "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
};

// True inside a container runtime's seccomp filter, which answers EPERM where the kernel would not.
bool under_seccomp_filter() {
  const auto status = sys::read_file("/proc/self/status", kMaxSetting);
  return status && status->find("\nSeccomp:\t2") != std::string::npos;
}

}  // namespace

std::span<const Setting> all_settings() {
  return kSettings;
}

std::string read_setting(std::string_view path) {
  const auto text = sys::read_file(std::string(path), kMaxSetting);
  if (!text) return text.error().code() == ENOENT ? "absent" : "unreadable";
  std::string line = text->substr(0, text->find('\n'));
  std::ranges::replace(line, '\t', ' ');  // between numbers
  return line;
}

Error explain_refusal(Error error) {
  if (!error.remedy().empty()) return error;
  for (const Cause& cause : kCauses) {
    if (read_setting(cause.path) != cause.value) continue;
    const std::string setting = std::string(cause.path) + " is " + std::string(cause.value);
    return Error(error.what() + " (" + setting + ")", error.code()).with_remedy(std::string(cause.remedy));
  }
  if (under_seccomp_filter()) {
    return Error(error.what() + " (a seccomp filter is installed, as container runtimes do)", error.code())
        .with_remedy("run weir outside the container, or start the container with --security-opt seccomp=unconfined");
  }
  return error;
}

}  // namespace weir::cli
