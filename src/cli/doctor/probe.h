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
  every_run,    // without it weir run starts nothing
  gateway,      // without it only the modes none, inbound and host work
  feature,      // without it one option does not work; the finding names it
  improvement,  // everything works without it, but slower or behind fewer walls
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

// The controls of one file, in the order of the report. A new control is one entry in its table; a new file is one more
// line here and in kGroups (controls.cc).
std::span<const Probe> process_probes();
std::span<const Probe> confinement_probes();
std::span<const Probe> network_probes();
std::span<const Probe> file_probes();
std::span<const Probe> image_probes();
std::span<const Probe> machine_probes();
std::span<const Probe> limit_probes();

struct ProbeGroup {
  std::string_view title;
  std::span<const Probe> probes;
};

// In the order of the report; the first probe of the first group is the user namespace.
std::span<const ProbeGroup> all_probes();

// Why a user namespace (or something in it) was refused, from the settings that are known to forbid it; the error
// itself when none of them does.
Error explain_refusal(Error error);

// The result; an error gets this remedy unless it has one.
template <class T>
Result<T> with_remedy(Result<T> result, std::string_view remedy) {
  if (result || !result.error().remedy().empty()) return result;
  return std::unexpected(std::move(result).error().with_remedy(std::string(remedy)));
}

// For the child of a throw-away child: waits for SIGKILL, which also comes when the parent is gone.
[[noreturn]] void wait_to_be_killed();

// Settings that probes ask for by name.
inline constexpr std::string_view kClockSource = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
inline constexpr std::string_view kYama = "/proc/sys/kernel/yama/ptrace_scope";
inline constexpr std::string_view kTypingAllowed = "/proc/sys/dev/tty/legacy_tiocsti";

// A kernel setting that bears on sandboxes, for the report.
struct Setting {
  std::string_view path;
  std::string_view meaning;
};
std::span<const Setting> all_settings();
// The first line of the file; "absent" when this kernel does not have it.
std::string read_setting(std::string_view path);

}  // namespace weir::cli
