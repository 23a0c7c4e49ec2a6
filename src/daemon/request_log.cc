#include "daemon/request_log.h"

#include <unistd.h>

#include <chrono>

#include "audit/event.h"
#include "base/failure_line.h"
#include "base/json.h"

namespace weir::daemon {

namespace {

constexpr std::size_t kMaxPath = 1024;

std::string now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return audit::rfc3339({std::chrono::duration_cast<std::chrono::microseconds>(since).count()});
}

}  // namespace

std::string log_line(LogForm form, const RequestLine& request, const std::string& time) {
  const auto ms = static_cast<std::uint64_t>(request.seconds * 1000);
  const std::string path(request.path.substr(0, kMaxPath));
  if (form == LogForm::json) {
    JsonWriter json;
    json.begin_object().field("time", std::string_view(time)).field("who", std::string_view(request.who));
    json.field("method", request.method).field("path", std::string_view(path)).field("endpoint", request.endpoint);
    json.field("status", static_cast<std::uint64_t>(request.status)).field("ms", ms).field("bytes", request.bytes);
    json.end_object();
    return json.take() + "\n";
  }
  const std::string status = request.status == 0 ? "gone" : std::to_string(request.status);
  return "weir-serve: " + (request.who.empty() ? "nobody" : request.who) + " " +
         printable(std::string(request.method)) + " " + printable(path) + " " + status + " " + std::to_string(ms) +
         " ms\n";
}

void RequestLog::write(const RequestLine& request) const {
  if (form_ == LogForm::none) return;
  const std::string line = log_line(form_, request, now());
  // A record that nobody takes is no reason to stop.
  const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  static_cast<void>(written);
}

}  // namespace weir::daemon
