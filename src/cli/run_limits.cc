#include "cli/run_limits.h"

#include <charconv>

#include "base/quantity.h"
#include "sandbox/identity.h"

namespace weir::cli {
namespace {

constexpr std::size_t kMaxDigits = 7;  // 9,999,999 is more than any machine has of either

// As docs/openapi.yaml has them. More processes than that the kernel has no numbers for (PID_MAX_LIMIT).
constexpr std::uint32_t kMaxPids = 4'194'304;
constexpr std::uint32_t kMaxCpus = 4096;
constexpr std::uint32_t kMinCpuMillis = 10;

std::unexpected<Error> bad_value(std::string what, std::string remedy) {
  return std::unexpected(Error(std::move(what)).with_remedy(std::move(remedy)));
}

std::optional<std::uint32_t> whole_number(std::string_view text) {
  if (text.empty() || text.size() > kMaxDigits) return std::nullopt;
  std::uint32_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<std::uint64_t> parse_bytes(std::string_view text, std::string_view option) {
  Result<std::uint64_t> bytes = parse_size_bytes(text);
  if (!bytes) return std::unexpected(std::move(bytes).error().context("option " + std::string(option)));
  if (*bytes == 0) return bad_value("option " + std::string(option) + ": 0 is not a limit", "leave it out for none");
  return bytes;
}

Result<std::chrono::milliseconds> parse_time(std::string_view text) {
  Result<std::uint64_t> parsed = parse_duration_ms(text);
  if (!parsed) return std::unexpected(std::move(parsed).error().context("option --timeout"));
  return std::chrono::milliseconds(*parsed);
}

Result<> take_values(const CommandLine& line, sandbox::Limits& limits) {
  if (const auto text = line.value(OptionId::memory)) {
    WEIR_TRY(limits.memory_bytes, parse_bytes(*text, "--memory"));
  }
  if (const auto text = line.value(OptionId::cpus)) {
    WEIR_TRY(limits.cpu_millis, parse_cpus(*text));
  }
  if (const auto text = line.value(OptionId::pids)) {
    WEIR_TRY(limits.processes, parse_pids(*text));
  }
  if (const auto text = line.value(OptionId::disk)) {
    WEIR_TRY(limits.disk_bytes, parse_bytes(*text, "--disk"));
  }
  return {};
}

}  // namespace

Result<std::uint32_t> parse_cpus(std::string_view text) {
  const std::size_t point = text.find('.');
  std::string behind(point == std::string_view::npos ? "0" : text.substr(point + 1));
  const auto whole = whole_number(text.substr(0, point));
  const bool short_enough = !behind.empty() && behind.size() <= 3;
  behind.resize(3, '0');
  const auto rest = whole_number(behind);
  if (!whole || !rest || !short_enough) {
    return bad_value("option --cpus: '" + std::string(text) + "' is no number of processors",
                     "write 2, 1.5 or 0.25, at most three digits behind the point");
  }
  const std::uint64_t millis = std::uint64_t{*whole} * 1000 + *rest;
  if (millis == 0) return bad_value("option --cpus: 0 is not a limit", "leave it out for none");
  if (millis < kMinCpuMillis || millis > kMaxCpus * 1000)
    return bad_value("option --cpus: '" + std::string(text) + "' is not between 0.01 and 4096", "write 1.5 or 0.25");
  return static_cast<std::uint32_t>(millis);
}

Result<std::uint32_t> parse_pids(std::string_view text) {
  const auto number = whole_number(text);
  if (!number) {
    return bad_value("option --pids: '" + std::string(text) + "' is no number of processes",
                     "write a whole number such as 256");
  }
  if (*number == 0) return bad_value("option --pids: 0 is not a limit", "leave it out for none");
  if (*number > kMaxPids)
    return bad_value("option --pids: more than " + std::to_string(kMaxPids) + " there cannot be",
                     "leave it out for none");
  return *number;
}

Result<Timeout> parse_timeout(std::string_view text) {
  const std::size_t comma = text.find(',');
  WEIR_TRY(const auto time, parse_time(text.substr(0, comma)));
  if (time.count() == 0)
    return bad_value("option --timeout: 0 would end the command at once", "leave it out for no limit");
  Timeout timeout{.time = time, .grace = {}};
  if (comma != std::string_view::npos) {
    WEIR_TRY(timeout.grace, parse_time(text.substr(comma + 1)));
  }
  return timeout;
}

Result<> plan_limits(const CommandLine& line, supervisor::RunOptions& options) {
  if (const auto text = line.value(OptionId::timeout)) {
    WEIR_TRY(const Timeout timeout, parse_timeout(*text));
    options.timeout = timeout.time;
    options.grace = timeout.grace.value_or(options.grace);
  }
  sandbox::Spec& spec = options.spec;
  WEIR_CHECK_OK(take_values(line, spec.limits));
  if (!spec.limits.any()) return {};
  WEIR_TRY(const sandbox::Machine machine, sandbox::this_machine());
  WEIR_CHECK_OK(sandbox::check_limits(spec.limits, machine));
  WEIR_TRY(const sandbox::LimitPlan plan,
           sandbox::plan_limits(spec.limits, sandbox::Identity::kind_of_caller(), spec.user));
  options.limit_lines = sandbox::describe_limits(spec.limits, plan);
  if (plan.watches(spec.limits)) {
    options.start_notices.push_back(
        "--memory is watched here, not held by a cgroup: a program that sets out to evade "
        "it can (weir doctor)");
  }
  return {};
}

}  // namespace weir::cli
