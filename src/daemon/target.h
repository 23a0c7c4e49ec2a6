// What a request names: the path and the query of its target (RFC 9112 3.2.1), taken apart once.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wire/session_error.h"

namespace weir::daemon {

// In bytes, as it comes.
inline constexpr std::size_t kMaxTarget = 16384;

struct Target {
  std::string path;                                        // as it came, without the query
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in its order
};

// Origin form only ("/v1/sessions?label=a%3Db").
wire::Answer<Target> parse_target(std::string_view text);

// "%2F" becomes "/"; nothing where the escapes are broken, or hold a NUL or no UTF-8. '+' stays what it is.
std::optional<std::string> percent_decoded(std::string_view text);

}  // namespace weir::daemon
