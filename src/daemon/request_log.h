// One line for each request, on standard error: no query, no header, no body.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::daemon {

enum class LogForm : std::uint8_t { none, text, json };

struct RequestLine {
  std::string who;  // the name of the token; "owner"; empty for nobody
  std::string_view method;
  std::string_view path;  // without its query
  std::string_view endpoint;
  unsigned status = 0;  // 0: the caller went before the answer
  double seconds = 0;
  std::uint64_t bytes = 0;  // sent
};

// With its newline. `time`: RFC 3339.
std::string log_line(LogForm form, const RequestLine& request, const std::string& time);

class RequestLog {
 public:
  explicit RequestLog(LogForm form) : form_(form) {}
  void write(const RequestLine& request) const;

 private:
  LogForm form_;
};

}  // namespace weir::daemon
