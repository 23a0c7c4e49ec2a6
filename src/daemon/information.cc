#include "daemon/information.h"

#include "base/json.h"
#include "daemon/handlers.h"

namespace weir::daemon {

Task<Outcome> show_health(Call&, std::string) {
  co_return json_reply(200, R"({"status":"ok","version":)" + json_string(WEIR_VERSION) + "}");
}

Task<Outcome> show_metrics(Call& call, std::string) {
  co_return Reply{.type = "text/plain; version=0.0.4", .body = call.daemon.metrics.text()};
}

Task<Outcome> show_openapi(Call&, std::string) {
  co_return json_reply(200, std::string(openapi_document()));
}

}  // namespace weir::daemon
