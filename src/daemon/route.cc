#include "daemon/route.h"

#include <algorithm>
#include <array>

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

constexpr std::array<std::string_view, 1> kFollow = {"follow"};
constexpr std::array<std::string_view, 1> kLabel = {"label"};
constexpr std::size_t kMaxLabel = 400;  // bytes of one; as docs/openapi.yaml
constexpr std::ptrdiff_t kMaxLabels = 16;
constexpr std::array<std::string_view, 1> kKill = {"kill"};
constexpr std::array<std::string_view, 1> kClose = {"close"};
constexpr std::array<std::string_view, 2> kList = {"list", "recursive"};
constexpr std::array<std::string_view, 1> kTar = {"tar"};
constexpr std::array<std::string_view, 2> kPut = {"mode", "folder"};
constexpr std::array<std::string_view, 1> kRecursive = {"recursive"};
constexpr std::array<std::string_view, 3> kShell = {"command", "rows", "columns"};

// What is either 0 or 1.
constexpr std::array<std::string_view, 6> kSwitches = {"follow", "kill", "close", "recursive", "tar", "folder"};

using enum Endpoint;
constexpr std::array kRoutes = {
    Row{execute, "POST", "/v1/execute", Needs::change, Body::json},
    Row{execute, "POST", "/execute", Needs::change, Body::json},
    Row{session_create, "POST", "/v1/sessions", Needs::change, Body::json},
    Row{session_create, "POST", "/session", Needs::change, Body::json},
    Row{session_list, "GET", "/v1/sessions", Needs::look, Body::none, kLabel},
    Row{session_show, "GET", "/v1/sessions/{id}", Needs::look},
    Row{session_delete, "DELETE", "/v1/sessions/{id}", Needs::change, Body::none, kKill},
    Row{run, "POST", "/v1/sessions/{id}/run", Needs::change, Body::json},
    Row{process_list, "GET", "/v1/sessions/{id}/processes", Needs::look},
    Row{process_signal, "POST", "/v1/sessions/{id}/processes/{pid}/signal", Needs::change, Body::json},
    Row{process_stdin, "POST", "/v1/sessions/{id}/processes/{pid}/stdin", Needs::change, Body::bytes, kClose},
    Row{process_output, "GET", "/v1/sessions/{id}/processes/{pid}/output", Needs::look, Body::none, kFollow},
    Row{file_list, "GET", "/v1/sessions/{id}/files", Needs::look, Body::none, kList},
    Row{file_get, "GET", "/v1/sessions/{id}/files/{path...}", Needs::look, Body::none, kTar},
    Row{file_put, "PUT", "/v1/sessions/{id}/files/{path...}", Needs::change, Body::streamed, kPut},
    Row{file_delete, "DELETE", "/v1/sessions/{id}/files/{path...}", Needs::change, Body::none, kRecursive},
    Row{network, "PUT", "/v1/sessions/{id}/network", Needs::change, Body::json},
    Row{events, "GET", "/v1/sessions/{id}/events", Needs::look, Body::none, kFollow},
    // It runs a command.
    Row{shell, "GET", "/v1/sessions/{id}/shell", Needs::change, Body::none, kShell},
    Row{snapshot_create, "POST", "/v1/snapshots", Needs::change, Body::json},
    Row{snapshot_list, "GET", "/v1/snapshots", Needs::look},
    Row{snapshot_show, "GET", "/v1/snapshots/{name}", Needs::look},
    Row{snapshot_delete, "DELETE", "/v1/snapshots/{name}", Needs::change},
    Row{snapshot_export, "GET", "/v1/snapshots/{name}/export", Needs::look},
    Row{snapshot_import, "PUT", "/v1/snapshots/{name}/import", Needs::change, Body::streamed},
    Row{image_list, "GET", "/v1/images", Needs::look},
    Row{image_show, "GET", "/v1/images/{image}", Needs::look},
    Row{image_import, "PUT", "/v1/images/{image}", Needs::owner, Body::streamed},
    Row{image_delete, "DELETE", "/v1/images/{image}", Needs::owner},
    Row{service_create, "POST", "/v1/services", Needs::change, Body::json},
    Row{service_list, "GET", "/v1/services", Needs::look},
    Row{service_show, "GET", "/v1/services/{name}", Needs::look},
    Row{service_delete, "DELETE", "/v1/services/{name}", Needs::change},
    Row{service_logs, "GET", "/v1/services/{name}/logs", Needs::look, Body::none, kFollow},
    Row{health, "GET", "/healthz", Needs::nothing},
    Row{metrics, "GET", "/metrics", Needs::owner},
    Row{openapi, "GET", "/openapi.json", Needs::nothing},
};

// In the order of Endpoint.
constexpr std::array<std::string_view, 35> kNames = {
    "execute",        "session_create", "session_list",    "session_show",    "session_delete",  "run",
    "process_list",   "process_signal", "process_stdin",   "process_output",  "file_list",       "file_get",
    "file_put",       "file_delete",    "network",         "events",          "shell",           "snapshot_create",
    "snapshot_list",  "snapshot_show",  "snapshot_delete", "snapshot_export", "snapshot_import", "image_list",
    "image_show",     "image_import",   "image_delete",    "service_create",  "service_list",    "service_show",
    "service_delete", "service_logs",   "health",          "metrics",         "openapi"};
static_assert(kNames.size() == static_cast<std::size_t>(openapi) + 1);

std::string_view next_segment(std::string_view& path) {
  path.remove_prefix(1);  // its slash
  const std::size_t end = std::min(path.find('/'), path.size());
  const std::string_view segment = path.substr(0, end);
  path.remove_prefix(end);
  return segment;
}

// nothing: another path. Parameters as they came.
std::optional<std::vector<std::string_view>> match(std::string_view pattern, std::string_view path) {
  std::vector<std::string_view> parameters;
  while (!pattern.empty() && !path.empty()) {
    const std::string_view wanted = next_segment(pattern);
    if (wanted.ends_with("...}")) {
      parameters.push_back(path.substr(1));
      return path.size() > 1 ? std::optional(parameters) : std::nullopt;
    }
    const std::string_view segment = next_segment(path);
    if (wanted.starts_with('{')) {
      if (segment.empty()) return std::nullopt;
      parameters.push_back(segment);
    } else if (wanted != segment) {
      return std::nullopt;
    }
  }
  if (!pattern.empty() || !path.empty()) return std::nullopt;
  return parameters;
}

bool is_word(std::string_view text, std::string_view others) {
  return std::ranges::all_of(text, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || others.contains(c);
  });
}

// Whether there can be a thing of that name at all.
bool is_possible(std::string_view parameter, std::string_view value) {
  if (parameter == "{path...}") return true;
  if (parameter == "{image}") return !value.empty() && value.size() <= 63 && is_word(value, "_.:-");
  if (parameter == "{pid}") {
    return !value.empty() && value.size() <= 7 && value.front() != '0' &&
           std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; });
  }
  return !value.empty() && value.size() <= 64 && is_word(value.substr(0, 1), "") && is_word(value, "_.-");
}

wire::Answer<Route> route_of(const Row& row, const std::vector<std::string_view>& raw) {
  Route route{.row = &row};
  std::string_view pattern = row.pattern;
  for (const std::string_view text : raw) {
    std::string_view name = next_segment(pattern);
    while (!name.starts_with('{')) name = next_segment(pattern);
    const auto value = percent_decoded(text);
    if (!value) return refuse(ErrorCode::bad_request, "the path is not percent-encoded UTF-8");
    if (!is_possible(name, *value)) return refuse(ErrorCode::not_found, "there is no such thing");
    route.parameters.push_back(*value);
  }
  return route;
}

}  // namespace

std::span<const Row> routes() {
  return kRoutes;
}

std::size_t body_limit(Endpoint endpoint) {
  // Code and files come with an execution, standard input with a run.
  if (endpoint == execute) return 32u << 20;
  if (endpoint == run || endpoint == process_stdin) return 16u << 20;
  return 2u << 20;
}

std::string_view name_of(Endpoint endpoint) {
  return kNames[static_cast<std::size_t>(endpoint)];
}

wire::Answer<Route> find_route(std::string_view method, std::string_view path) {
  bool there = false;
  for (const Row& row : kRoutes) {
    const auto raw = match(row.pattern, path);
    if (!raw) continue;
    if (row.method == method) return route_of(row, *raw);
    there = true;
  }
  if (!there) return refuse(ErrorCode::not_found, "there is nothing at this path", "see /openapi.json");
  return refuse(ErrorCode::method_not_allowed, "this path does not take the method",
                "the header Allow says which it takes");
}

std::string allowed_methods(std::string_view path) {
  std::string methods;
  for (const Row& row : kRoutes) {
    if (!match(row.pattern, path)) continue;
    methods += (methods.empty() ? "" : ", ") + std::string(row.method);
  }
  return methods;
}

wire::Answer<> check_query(const Row& row, const Target& target) {
  for (auto item = target.query.begin(); item != target.query.end(); ++item) {
    const auto& [name, value] = *item;
    if (std::ranges::find(row.query, name) == row.query.end()) {
      return refuse(ErrorCode::bad_request, "a query parameter that this call does not know", "see /openapi.json");
    }
    const bool again = std::any_of(target.query.begin(), item, [&](const auto& each) { return each.first == name; });
    if (again && name != "label") return refuse(ErrorCode::bad_request, "the parameter '" + name + "' twice");
    if (name == "label" &&
        (value.size() > kMaxLabel || value.find('=') == std::string::npos || value.starts_with('='))) {
      return refuse(ErrorCode::bad_request, "the parameter 'label' is no label", "write label=KEY=VALUE");
    }
    const bool is_switch = std::ranges::find(kSwitches, name) != kSwitches.end();
    if (is_switch && value != "0" && value != "1") {
      return refuse(ErrorCode::bad_request, "the parameter '" + name + "' is neither 0 nor 1");
    }
    if (value.empty()) return refuse(ErrorCode::bad_request, "the parameter '" + name + "' has no value");
  }
  const auto labels = std::ranges::count(target.query, "label", [](const auto& each) { return each.first; });
  if (labels > kMaxLabels) return refuse(ErrorCode::bad_request, "more than 16 parameters 'label'");
  return {};
}

std::string_view parameter(const Target& target, std::string_view name) {
  for (const auto& [key, value] : target.query) {
    if (key == name) return value;
  }
  return {};
}

bool is_on(const Target& target, std::string_view name) {
  return parameter(target, name) == "1";
}

wire::Answer<> check_rights(const Row& row, const Principal& principal) {
  if (row.needs == Needs::nothing || principal.is_owner()) return {};
  if (principal.kind == Principal::Kind::nobody) {
    return refuse(ErrorCode::unauthorized, "no token, or one that is not known", "send Authorization: Bearer TOKEN");
  }
  if (row.needs == Needs::owner) {
    return refuse(ErrorCode::forbidden, "this is for the machine's owner", "ask by the unix socket of weir serve");
  }
  if (row.needs == Needs::change && principal.rights != Principal::Rights::change) {
    return refuse(ErrorCode::read_only, "this token may look and not change", "use one without :ro in the token file");
  }
  return {};
}

}  // namespace weir::daemon
