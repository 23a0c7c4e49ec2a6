#include "supervisor/record/limit_report.h"

#include "base/quantity.h"

namespace weir::supervisor {

audit::LimitHit report_of(const sandbox::LimitHit& hit, const sandbox::Limits& limits) {
  using Limit = sandbox::LimitHit::Limit;
  switch (hit.limit) {
    case Limit::memory:
      return {.limit = "memory", .value = size_text(limits.memory_bytes.value_or(0)), .times = hit.times};
    case Limit::pids:
      return {.limit = "pids", .value = std::to_string(limits.processes.value_or(0)), .times = hit.times};
    case Limit::disk:
      return {.limit = "disk", .value = size_text(limits.disk_bytes.value_or(0)), .times = hit.times};
  }
  return {};
}

std::string text_of(const audit::LimitHit& hit) {
  if (hit.limit == "memory") return "killed: memory limit " + hit.value;
  std::string text = hit.limit + " limit " + hit.value + " was reached";
  if (hit.times > 1) text += " " + std::to_string(hit.times) + " times";
  return text;
}

}  // namespace weir::supervisor
