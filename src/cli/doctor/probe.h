// What this machine can enforce, found out by doing it.
//
// A probe does one thing that weir needs, the way weir does it, in a throw-away child, and says what enforced it. Only
// a probe that failed is explained by settings: a setting that looks wrong but does no harm is not worth a line of
// alarm.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace weir::cli {

enum class Need : std::uint8_t {
  every_run,  // without it weir run starts nothing
  gateway,    // without it only the modes none, inbound and host work
  feature,    // without it one option does not work; the finding names it
};

enum class Footing : std::uint8_t {
  plain,           // needs no namespace
  user_namespace,  // is not even tried when user namespaces do not work: all of them would say the same
};

struct Probe {
  std::string_view control;
  Need need;
  Footing footing;
  // Runs in a throw-away child. The value says what enforces the control; the remedy of an error is the command that
  // would repair it.
  Result<std::string> (*run)();
};

// In the order of the report; the first one is the user namespace.
std::span<const Probe> all_probes();

// probes_process.cc
Result<std::string> probe_user_namespace();
Result<std::string> probe_pid_namespace();
Result<std::string> probe_small_namespaces();
Result<std::string> probe_private_root();
Result<std::string> probe_no_new_privs();
Result<std::string> probe_seccomp();
Result<std::string> probe_memfd_seals();
Result<std::string> probe_pidfd();
// probes_files.cc
Result<std::string> probe_overlay();
Result<std::string> probe_idmapped_mount();
// probes_network.cc
Result<std::string> probe_loopback();
Result<std::string> probe_tun();
Result<std::string> probe_detour4();
Result<std::string> probe_detour6();
Result<std::string> probe_refusal();
Result<std::string> probe_host_ipv6();

// probes_limits.cc
Result<std::string> probe_limit_memory();
Result<std::string> probe_limit_cpus();
Result<std::string> probe_limit_pids();
Result<std::string> probe_limit_disk();

// Why a user namespace (or something in it) was refused, from the settings that are known to forbid it; the error
// itself when none of them does.
Error explain_refusal(Error error);

// A kernel setting that bears on sandboxes, for the report.
struct Setting {
  std::string_view path;
  std::string_view meaning;
};
std::span<const Setting> all_settings();
// The first line of the file; "absent" when this kernel does not have it.
std::string read_setting(std::string_view path);

}  // namespace weir::cli
