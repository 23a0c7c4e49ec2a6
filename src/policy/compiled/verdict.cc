#include "policy/compiled/verdict.h"

#include <array>

namespace weir::policy {

std::string_view name_of(Reason reason) {
  constexpr std::array<std::string_view, kReasonCount> kNames = {
      "",        "no-rule",       "denied-by-rule", "floor",        "rebind",
      "no-name", "sni-missing",   "sni-mismatch",   "host-missing", "host-mismatch",
      "ech",     "not-tls",       "not-http",       "malformed",    "limit",
      "quota",   "protocol",      "resolve-failed", "secret",       "upstream-proxy",
      "audit",   "shutting-down",
  };
  const auto index = static_cast<std::size_t>(reason);
  return index < kNames.size() ? kNames[index] : std::string_view();
}

std::string_view name_of(Layer layer) {
  switch (layer) {
    case Layer::none:
      return "none";
    case Layer::floor:
      return "floor";
    case Layer::session:
      return "session";
    case Layer::run:
      return "run";
  }
  return layer > Layer::run && layer <= kInnermostLayer ? "run" : "none";
}

}  // namespace weir::policy
