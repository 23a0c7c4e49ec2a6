#include "policy/text/enforced.h"

#include "policy/text/show.h"

namespace weir::policy {

std::unexpected<Error> not_yet(const std::string& what, std::string remedy) {
  return std::unexpected(Error(what + ": not available in this version").with_remedy(std::move(remedy)));
}

Result<> check_enforced(Mode mode, const ImageSource& source) {
  // Its rate limits and quotas are part of what it promises.
  if (mode == Mode::semitrusted) {
    return not_yet("network mode semitrusted", "use allowlist with the hosts that are needed, or public");
  }
  const Limits defaults = Limits::defaults_of(mode);
  for (std::size_t i = 0; i < kLimitCount; ++i) {
    const auto limit = static_cast<Limit>(i);
    const bool written = (source.written_limits >> i & 1) != 0;
    if (is_enforced(limit) || (!written && source.limits[limit] == defaults[limit])) continue;
    const std::string key(limit_key(limit));
    return not_yet("limits." + key, "take " + key + " out of the policy");
  }
  return {};
}

}  // namespace weir::policy
