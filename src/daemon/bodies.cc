#include "daemon/bodies.h"

#include <algorithm>
#include <cmath>

#include "daemon/body_fields.h"
#include "wire/control_request.h"
#include "wire/labels.h"
#include "wire/signal_names.h"

namespace weir::daemon {

namespace {

using wire::Answer;
using wire::JsonFields;

constexpr double kMaxSeconds = 365.0 * 24 * 3600;
constexpr std::size_t kMaxFiles = 1000;

Result<> take_timeout(JsonFields& fields, std::uint64_t& timeout_ms) {
  const Json* const member = fields.member("timeout_seconds");
  if (member == nullptr) return {};
  if (!member->is_number()) return fail("'timeout_seconds' is no number");
  const auto seconds = member->get<double>();
  if (!(seconds > 0 && seconds <= kMaxSeconds)) return fail("'timeout_seconds' is not between 0 and 31536000");
  timeout_ms = static_cast<std::uint64_t>(std::ceil(seconds * 1000));
  return {};
}

Result<> take_network(JsonFields& fields, wire::RunProcess& run) {
  if (fields.has("network") && fields.has("network_mode")) return fail("'network' and 'network_mode' are one key");
  WEIR_CHECK_OK(fields.text("network", run.network_mode));
  WEIR_CHECK_OK(fields.text("network_mode", run.network_mode));
  if ((fields.has("network") || fields.has("network_mode")) && run.network_mode.empty()) {
    return fail("the mode is empty");
  }
  WEIR_CHECK_OK(fields.texts("network_allowlist", run.network_allowlist));
  return fields.texts("network_denylist", run.network_denylist);
}

// Text for what is attached, a truth for what is detached.
Result<> take_stdin(JsonFields& fields, RunBody& body) {
  if (body.run.detach) return fields.truth("stdin", body.run.keeps_stdin);
  // NUL bytes are no trouble here: this is no argument.
  const Json* const member = fields.member("stdin");
  if (member == nullptr) return {};
  if (!member->is_string()) return fail("'stdin' is no text");
  body.stdin_text = member->get<std::string>();
  return {};
}

Result<> take_command(JsonFields& fields, wire::RunProcess& run) {
  std::optional<std::string> command;
  WEIR_CHECK_OK(fields.texts("argv", run.argv));
  WEIR_CHECK_OK(fields.text("command", command));
  if (command.has_value() == fields.has("argv")) return fail("one of 'command' and 'argv'");
  if (command) run.argv = {"/bin/sh", "-c", *command};
  if (run.argv.empty() || run.argv.front().empty()) return fail("no program in 'argv'");
  if (command && command->empty()) return fail("'command' is empty");
  return {};
}

Result<> take_environment(JsonFields& fields, wire::RunProcess& run) {
  WEIR_CHECK_OK(fields.pairs("env", run.env));
  const bool named = std::ranges::all_of(run.env, [](const auto& each) { return is_variable_name(each.first); });
  return named ? Result<>() : fail("a key of 'env' is no name of a variable");
}

Result<RunBody> run_of(JsonFields& fields) {
  RunBody body;
  WEIR_CHECK_OK(take_command(fields, body.run));
  WEIR_CHECK_OK(take_environment(fields, body.run));
  WEIR_CHECK_OK(fields.text("cwd", body.run.cwd));
  if (fields.has("cwd") && !body.run.cwd.starts_with('/')) return fail("'cwd' is no absolute path");
  WEIR_CHECK_OK(take_timeout(fields, body.run.timeout_ms));
  WEIR_CHECK_OK(fields.truth("stream", body.stream));
  WEIR_CHECK_OK(fields.truth("detach", body.run.detach));
  if (body.stream && body.run.detach) return fail("'stream' and 'detach'; follow the output of what is detached");
  WEIR_CHECK_OK(take_stdin(fields, body));
  WEIR_CHECK_OK(fields.number("max_output_bytes", body.max_output, 1, RunBody::kMaxOutput));
  WEIR_CHECK_OK(take_network(fields, body.run));
  WEIR_CHECK_OK(fields.truth("freeze", body.run.freeze));
  WEIR_CHECK_OK(fields.truth("keep_files", body.run.keep_files));
  if ((body.run.freeze || body.run.keep_files) && !body.run.overrides_network()) {
    return fail("'freeze' and 'keep_files' say something beside a network of the run's own only");
  }
  WEIR_CHECK_OK(fields.nothing_else());
  return body;
}

// Below the working folder, and nowhere else. The sandbox resolves it; this is for messages that make sense.
bool is_relative_path(std::string_view path) {
  if (path.empty() || path.size() > 1024 || path.front() == '/' || path.ends_with('/')) return false;
  while (true) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    if (part.empty() || part == "." || part == "..") return false;
    if (end == path.size()) return true;
    path.remove_prefix(end + 1);
  }
}

// Content is whatever JSON can say, NUL included.
Result<> take_files(JsonFields& fields, ExecuteBody& body) {
  const Json* const member = fields.member("files");
  if (member == nullptr) return {};
  if (!member->is_object()) return fail("'files' is no object");
  if (member->size() > kMaxFiles) return fail("more than 1000 'files'");
  for (const auto& [path, content] : member->items()) {
    if (!is_relative_path(path) || path.find('\0') != std::string::npos) {
      return fail(wire::quoted_key(path) + " is no path below the working folder");
    }
    if (!content.is_string()) return fail(wire::quoted_key(path) + " is no text");
    body.files.emplace_back(path, content.get<std::string>());
  }
  return {};
}

Result<ExecuteBody> execute_of(JsonFields& fields) {
  for (const char* key : {"language", "code"}) {
    if (!fields.has(key)) return fail(std::string("no '") + key + "'");
  }
  ExecuteBody body;
  WEIR_CHECK_OK(fields.text("language", body.language));
  const Json* const code = fields.member("code");
  if (!code->is_string()) return fail("'code' is no text");
  body.code = code->get<std::string>();
  WEIR_CHECK_OK(take_stdin(fields, body.run));
  WEIR_CHECK_OK(take_timeout(fields, body.run.run.timeout_ms));
  WEIR_CHECK_OK(take_files(fields, body));
  WEIR_TRY(body.create, sandbox_words(fields));
  WEIR_CHECK_OK(fields.nothing_else());
  return body;
}

Result<SnapshotBody> snapshot_of(JsonFields& fields) {
  SnapshotBody body;
  WEIR_CHECK_OK(fields.text("session", body.session));
  if (!is_plain_name(body.session)) return fail("no 'session', or one that is no name");
  WEIR_CHECK_OK(fields.text("name", body.snapshot.name));
  if (fields.has("name") && !is_plain_name(body.snapshot.name)) return fail("'name' is no name");
  WEIR_CHECK_OK(fields.pairs("labels", body.snapshot.labels));
  WEIR_CHECK_OK(wire::check_labels(body.snapshot.labels));
  WEIR_CHECK_OK(fields.nothing_else());
  return body;
}

Result<int> signal_of(JsonFields& fields) {
  const Json* const member = fields.member("signal");
  WEIR_CHECK_OK(fields.nothing_else());
  if (member == nullptr) return fail("no 'signal'");
  std::string text;
  if (member->is_string()) text = member->get<std::string>();
  if (member->is_number_integer()) text = std::to_string(member->get<std::int64_t>());
  const auto number = wire::signal_number(text);
  return number ? Result<int>(*number) : fail("'signal' is no signal");
}

}  // namespace

Answer<Json> body_object(std::string_view body) {
  auto document = as_bad_request(parse_json(body));
  if (document && !document->is_object()) return as_bad_request(Result<Json>(fail("no object")));
  return document;
}

Answer<RunBody> parse_run(std::string_view body) {
  WEIR_TRY(const Json object, body_object(body));
  JsonFields fields(object);
  return as_bad_request(run_of(fields));
}

Answer<ExecuteBody> parse_execute(std::string_view body, const Principal& who) {
  WEIR_TRY(const Json object, body_object(body));
  WEIR_CHECK_OK(check_reach(object, who));
  JsonFields fields(object);
  return as_bad_request(execute_of(fields));
}

Answer<int> parse_signal(std::string_view body) {
  WEIR_TRY(const Json object, body_object(body));
  JsonFields fields(object);
  return as_bad_request(signal_of(fields));
}

Answer<wire::ControlRequest> parse_narrow(std::string_view body, const Principal& who) {
  WEIR_TRY(Json object, body_object(body));
  WEIR_CHECK_OK(check_reach(object, who));
  if (object.contains("op")) return as_bad_request(Result<wire::ControlRequest>(fail("no key 'op' here")));
  object["op"] = "narrow";
  return as_bad_request(wire::parse_control_request(object.dump()));
}

Answer<SnapshotBody> parse_snapshot(std::string_view body) {
  WEIR_TRY(const Json object, body_object(body));
  JsonFields fields(object);
  return as_bad_request(snapshot_of(fields));
}

}  // namespace weir::daemon
