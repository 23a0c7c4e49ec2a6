// What the daemon says of itself: /healthz, /metrics, /openapi.json.
#pragma once

#include <string_view>

namespace weir::daemon {

// docs/openapi.yaml as JSON, made when the program is built.
std::string_view openapi_document();

}  // namespace weir::daemon
