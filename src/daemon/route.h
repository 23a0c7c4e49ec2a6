// The table of what there is to ask for: the only place that knows paths, methods and who may do what.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/principal.h"
#include "daemon/target.h"
#include "wire/session_error.h"

namespace weir::daemon {

enum class Endpoint : std::uint8_t {
  execute,
  session_create,
  session_list,
  session_show,
  session_delete,
  run,
  process_list,
  process_signal,
  process_stdin,
  process_output,
  file_list,
  file_get,
  file_put,
  file_delete,
  network,
  events,
  shell,
  snapshot_create,
  snapshot_list,
  snapshot_show,
  snapshot_delete,
  snapshot_export,
  snapshot_import,
  image_list,
  image_show,
  image_import,
  image_delete,
  service_create,
  service_list,
  service_show,
  service_delete,
  service_logs,
  health,
  metrics,
  openapi,
};

// Whom an endpoint serves.
enum class Needs : std::uint8_t {
  nothing,  // anybody who can connect
  look,     // a known token
  change,   // a token that is not read-only
  owner,    // the machine's owner
};

// What is read of a body before its handler begins.
enum class Body : std::uint8_t {
  none,
  json,      // all of it; application/json
  bytes,     // all of it, of whichever type
  streamed,  // nothing: the handler reads it as it comes
};

struct Row {
  Endpoint endpoint;
  std::string_view method;
  // "/v1/sessions/{id}/files/{path...}": a parameter is one segment, the last may be all that is left.
  std::string_view pattern;
  Needs needs;
  Body body = Body::none;
  std::span<const std::string_view> query = {};  // the parameters that it knows
};

// Of a body that is read whole.
std::size_t body_limit(Endpoint endpoint);
// For records and counters: "run".
std::string_view name_of(Endpoint endpoint);

std::span<const Row> routes();

struct Route {
  const Row* row = nullptr;
  std::vector<std::string> parameters = {};  // decoded, in the order of the pattern
};

// A path that is not there is `not_found`; one that is, with another method, `method_not_allowed`. A session's, a
// snapshot's or a service's name that can be none is `not_found` as well, and so is a pid that is no number.
wire::Answer<Route> find_route(std::string_view method, std::string_view path);
// "GET, PUT": for the header Allow.
std::string allowed_methods(std::string_view path);

// Unknown parameters, ones that come twice (but `label`), and a switch that is neither 0 nor 1 are errors.
wire::Answer<> check_query(const Row& row, const Target& target);
// Empty where it is not there.
std::string_view parameter(const Target& target, std::string_view name);
bool is_on(const Target& target, std::string_view name);

// Refused: `unauthorized`, `read_only` or `forbidden`.
wire::Answer<> check_rights(const Row& row, const Principal& principal);

}  // namespace weir::daemon
