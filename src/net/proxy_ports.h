// Where the explicit proxies listen on the gateway's address (policy.md section 5).
#pragma once

#include "net/ip_address.h"

namespace weir::net {

inline constexpr Port kHttpProxyPort = 3128;
inline constexpr Port kSocksProxyPort = 1080;

}  // namespace weir::net
