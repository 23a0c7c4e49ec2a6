#include "daemon/reply.h"

namespace weir::daemon {

unsigned status_of(wire::ErrorCode code) {
  using enum wire::ErrorCode;
  switch (code) {
    case bad_request:
      return 400;
    case unauthorized:
      return 401;
    case read_only:
    case forbidden:
      return 403;
    case not_found:
    case image_not_found:
    case snapshot_not_found:
      return 404;
    case method_not_allowed:
      return 405;
    case timeout:
      return 408;
    case cannot_widen:
    case wider_process:
    case name_taken:
    case conflict:
    case taint:
      return 409;
    case gone:
      return 410;
    case too_large:
      return 413;
    case bad_policy:
    case idempotency_mismatch:
    case not_executed:
    case language_unavailable:
      return 422;
    case too_many:
      return 429;
    case cannot_enforce:
      return 501;
    case unavailable:
      return 503;
    case limit:
      return 507;
    case internal:
      return 500;
  }
  return 500;
}

Reply error_reply(const wire::Refusal& refusal) {
  Reply reply = json_reply(status_of(refusal.code), wire::error_line(refusal));
  if (reply.status == 429 || reply.status == 503) reply.headers.emplace_back("Retry-After", "1");
  if (reply.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

std::string_view reason_phrase(unsigned status) {
  switch (status) {
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 507:
      return "Insufficient Storage";
    default:
      return "Internal Server Error";
  }
}

}  // namespace weir::daemon
