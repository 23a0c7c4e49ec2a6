// Names that weir answers itself; nothing at or below weir.internal ever goes upstream.
#pragma once

#include <string_view>

namespace weir::policy {

inline constexpr std::string_view kOwnDomain = "weir.internal";
// The services of the host, where allowed.
inline constexpr std::string_view kHostService = "host.weir.internal";
// Resolver and proxies.
inline constexpr std::string_view kGatewayName = "gateway.weir.internal";

inline bool is_own_name(std::string_view name) {
  if (!name.ends_with(kOwnDomain)) return false;
  return name.size() == kOwnDomain.size() || name[name.size() - kOwnDomain.size() - 1] == '.';
}

}  // namespace weir::policy
