#include "wire/session_request.h"
#include "wire/labels.h"

#include <array>

#include "base/json.h"
#include "wire/json_fields.h"
#include "wire/signal_names.h"

namespace weir::wire {

namespace {

// The kernel's bound (PID_MAX_LIMIT), and as many for processes in sandboxes of their own.
constexpr std::uint64_t kMaxPid = 2u << 22;
constexpr std::uint32_t kMaxMode = 07777;

using Do = FileRequest::Do;
struct DoName {
  Do what;
  std::string_view name;
};
// In the order of Do.
constexpr std::array kDos = {DoName{Do::get, "get"},       DoName{Do::put, "put"},
                             DoName{Do::list, "list"},     DoName{Do::stat, "stat"},
                             DoName{Do::remove, "delete"}, DoName{Do::make_folder, "make_folder"},
                             DoName{Do::tar, "tar"},       DoName{Do::untar, "untar"}};

Result<> required(const JsonFields& fields, const char* key) {
  return fields.has(key) ? Result<>() : fail(std::string("no '") + key + "'");
}

Result<> absolute(const char* key, const std::string& path) {
  return path.starts_with('/') ? Result<>() : fail(std::string("'") + key + "' is no absolute path");
}

Result<> check_run(const RunProcess& run) {
  if (run.argv.empty() || run.argv.front().empty()) return fail("no program in 'argv'");
  for (const auto& [name, value] : run.env) {
    if (name.empty() || name.find('=') != std::string::npos) return fail("no name of a variable: " + quoted_key(name));
  }
  if (!run.cwd.empty()) WEIR_CHECK_OK(absolute("cwd", run.cwd));
  if (run.keeps_stdin && !run.detach) return fail("'stdin' says something for a detached process only");
  if (run.terminal && run.detach) return fail("a detached process has no terminal");
  if ((run.freeze || run.keep_files) && !run.overrides_network())
    return fail("'freeze' and 'keep_files' say something beside a network of the process's own only");
  return {};
}

Result<SessionRequest> take_run(JsonFields& fields) {
  RunProcess run;
  std::optional<std::string> command;
  WEIR_CHECK_OK(fields.texts("argv", run.argv));
  WEIR_CHECK_OK(fields.text("command", command));
  if (command && fields.has("argv")) return fail("'argv' and 'command'");
  if (command) run.argv = {"/bin/sh", "-c", *command};
  WEIR_CHECK_OK(fields.pairs("env", run.env));
  WEIR_CHECK_OK(fields.text("cwd", run.cwd));
  if (fields.has("timeout_ms"))
    WEIR_CHECK_OK(fields.number("timeout_ms", run.timeout_ms, 1, RunProcess::kMaxTimeoutMs));
  WEIR_CHECK_OK(fields.truth("terminal", run.terminal));
  WEIR_CHECK_OK(fields.number("rows", run.rows, 1));
  WEIR_CHECK_OK(fields.number("columns", run.columns, 1));
  WEIR_CHECK_OK(fields.truth("detach", run.detach));
  WEIR_CHECK_OK(fields.truth("stdin", run.keeps_stdin));
  WEIR_CHECK_OK(fields.text("network_mode", run.network_mode));
  if (fields.has("network_mode") && run.network_mode.empty()) return fail("the mode is empty");
  WEIR_CHECK_OK(fields.texts("network_allowlist", run.network_allowlist));
  WEIR_CHECK_OK(fields.texts("network_denylist", run.network_denylist));
  WEIR_CHECK_OK(fields.truth("freeze", run.freeze));
  WEIR_CHECK_OK(fields.truth("keep_files", run.keep_files));
  WEIR_CHECK_OK(check_run(run));
  return run;
}

Result<> take_pid(JsonFields& fields, std::uint32_t& pid) {
  WEIR_CHECK_OK(required(fields, "pid"));
  return fields.number("pid", pid, 1, kMaxPid);
}

Result<SessionRequest> take_signal(JsonFields& fields) {
  SignalProcess signal;
  WEIR_CHECK_OK(take_pid(fields, signal.pid));
  WEIR_CHECK_OK(required(fields, "signal"));
  const Json& value = *fields.member("signal");
  if (value.is_number_unsigned()) {
    WEIR_CHECK_OK(fields.number("signal", signal.signal, 1, kMaxSignal));
    return signal;
  }
  const auto number = value.is_string() ? signal_number(value.get<std::string>()) : std::nullopt;
  if (!number) return fail("'signal' is no name and no number of a signal");
  signal.signal = *number;
  return signal;
}

Result<SessionRequest> take_stdin(JsonFields& fields) {
  FeedProcess feed;
  WEIR_CHECK_OK(take_pid(fields, feed.pid));
  WEIR_CHECK_OK(fields.truth("close", feed.close));
  return feed;
}

Result<SessionRequest> take_output(JsonFields& fields) {
  ReadOutput output;
  WEIR_CHECK_OK(take_pid(fields, output.pid));
  WEIR_CHECK_OK(fields.truth("follow", output.follow));
  return output;
}

Result<SessionRequest> take_resize(JsonFields& fields) {
  ResizeTerminal resize;
  WEIR_CHECK_OK(take_pid(fields, resize.pid));
  WEIR_CHECK_OK(required(fields, "rows"));
  WEIR_CHECK_OK(required(fields, "columns"));
  WEIR_CHECK_OK(fields.number("rows", resize.rows, 1));
  WEIR_CHECK_OK(fields.number("columns", resize.columns, 1));
  return resize;
}

Result<SessionRequest> take_file(JsonFields& fields) {
  FileRequest file;
  std::string what;
  WEIR_CHECK_OK(required(fields, "do"));
  WEIR_CHECK_OK(fields.text("do", what));
  const DoName* found = nullptr;
  for (const DoName& each : kDos) found = each.name == what ? &each : found;
  if (found == nullptr) return fail("'do' is " + quoted_key(what));
  file.what = found->what;
  WEIR_CHECK_OK(required(fields, "path"));
  WEIR_CHECK_OK(fields.text("path", file.path));
  WEIR_CHECK_OK(absolute("path", file.path));
  if (file.what == Do::put) WEIR_CHECK_OK(fields.number("mode", file.mode, 0, kMaxMode));
  if (file.what == Do::remove || file.what == Do::list) WEIR_CHECK_OK(fields.truth("recursive", file.recursive));
  return file;
}

Result<SessionRequest> take_snapshot(JsonFields& fields) {
  MakeSnapshot snapshot;
  WEIR_CHECK_OK(fields.text("id", snapshot.id));
  WEIR_CHECK_OK(fields.text("name", snapshot.name));
  WEIR_CHECK_OK(fields.pairs("labels", snapshot.labels));
  WEIR_CHECK_OK(check_labels(snapshot.labels));
  return snapshot;
}

Result<SessionRequest> take_stop(JsonFields& fields) {
  StopSession stop;
  WEIR_CHECK_OK(fields.truth("kill", stop.kill));
  return stop;
}

struct OpParser {
  std::string_view name;
  Result<SessionRequest> (*take)(JsonFields&);
};
constexpr std::array kOps = {
    OpParser{"show", [](JsonFields&) -> Result<SessionRequest> { return ShowSession{}; }},
    OpParser{"run", take_run},
    OpParser{"processes", [](JsonFields&) -> Result<SessionRequest> { return ListProcesses{}; }},
    OpParser{"signal", take_signal},
    OpParser{"stdin", take_stdin},
    OpParser{"output", take_output},
    OpParser{"resize", take_resize},
    OpParser{"file", take_file},
    OpParser{"snapshot", take_snapshot},
    OpParser{"stop", take_stop},
};

Result<SessionRequest> parse(std::string_view line) {
  if (line.size() >= ControlRequest::kMaxLine) return fail("longer than 1 MiB");
  WEIR_TRY(const Json document, parse_json(line));
  if (!document.is_object()) return fail("no object");
  JsonFields fields(document);
  std::string op;
  WEIR_CHECK_OK(required(fields, "op"));
  WEIR_CHECK_OK(fields.text("op", op));
  for (const OpParser& each : kOps) {
    if (each.name != op) continue;
    WEIR_TRY(SessionRequest request, each.take(fields));
    WEIR_CHECK_OK(fields.nothing_else());
    return request;
  }
  return fail("'op' is " + quoted_key(op));
}

// Is it for the parser of --control?
bool is_control(std::string_view line) {
  if (line.size() >= ControlRequest::kMaxLine) return false;
  const auto document = parse_json(line);
  if (!document || !document->is_object()) return false;
  const Json* const op = json_member(*document, "op");
  return op != nullptr && op->is_string() && (*op == "narrow" || *op == "seal");
}

void write_texts(JsonWriter& json, std::string_view key, const std::vector<std::string>& items) {
  if (items.empty()) return;
  json.key(key).begin_array();
  for (const std::string& item : items) json.value(std::string_view(item));
  json.end_array();
}

void write_pairs(JsonWriter& json, std::string_view key, const JsonFields::Pairs& items) {
  if (items.empty()) return;
  json.key(key).begin_object();
  for (const auto& [name, value] : items) json.field(name, std::string_view(value));
  json.end_object();
}

void write_text(JsonWriter& json, std::string_view key, const std::string& text) {
  if (!text.empty()) json.field(key, std::string_view(text));
}

void write_flag(JsonWriter& json, std::string_view key, bool truth) {
  if (truth) json.field(key, true);
}

std::uint64_t wide(std::uint64_t number) {
  return number;
}

void write(JsonWriter& json, const ShowSession&) {
  json.field("op", "show");
}
void write(JsonWriter& json, const ListProcesses&) {
  json.field("op", "processes");
}
void write(JsonWriter& json, const RunProcess& run) {
  json.field("op", "run");
  write_texts(json, "argv", run.argv);
  write_pairs(json, "env", run.env);
  write_text(json, "cwd", run.cwd);
  if (run.timeout_ms != 0) json.field("timeout_ms", run.timeout_ms);
  write_flag(json, "terminal", run.terminal);
  if (run.terminal) json.field("rows", wide(run.rows)).field("columns", wide(run.columns));
  write_flag(json, "detach", run.detach);
  write_flag(json, "stdin", run.keeps_stdin);
  write_text(json, "network_mode", run.network_mode);
  write_texts(json, "network_allowlist", run.network_allowlist);
  write_texts(json, "network_denylist", run.network_denylist);
  write_flag(json, "freeze", run.freeze);
  write_flag(json, "keep_files", run.keep_files);
}
void write(JsonWriter& json, const SignalProcess& signal) {
  json.field("op", "signal").field("pid", wide(signal.pid)).field("signal", std::int64_t{signal.signal});
}
void write(JsonWriter& json, const FeedProcess& feed) {
  json.field("op", "stdin").field("pid", wide(feed.pid)).field("close", feed.close);
}
void write(JsonWriter& json, const ReadOutput& output) {
  json.field("op", "output").field("pid", wide(output.pid)).field("follow", output.follow);
}
void write(JsonWriter& json, const ResizeTerminal& resize) {
  json.field("op", "resize").field("pid", wide(resize.pid));
  json.field("rows", wide(resize.rows)).field("columns", wide(resize.columns));
}
void write(JsonWriter& json, const FileRequest& file) {
  json.field("op", "file").field("do", kDos[static_cast<std::size_t>(file.what)].name);
  json.field("path", std::string_view(file.path));
  if (file.what == Do::put) json.field("mode", wide(file.mode));
  if (file.what == Do::remove || file.what == Do::list) write_flag(json, "recursive", file.recursive);
}
void write(JsonWriter& json, const ControlRequest& request) {
  json.field("op", request.op == ControlRequest::Op::seal ? "seal" : "narrow");
  if (request.policy) json.field("policy", std::string_view(*request.policy));
  write_text(json, "network_mode", request.network_mode);
  write_texts(json, "network_allowlist", request.network_allowlist);
  write_texts(json, "network_denylist", request.network_denylist);
  write_texts(json, "insist", request.insist);
}
void write(JsonWriter& json, const MakeSnapshot& snapshot) {
  json.field("op", "snapshot");
  write_text(json, "id", snapshot.id);
  write_text(json, "name", snapshot.name);
  write_pairs(json, "labels", snapshot.labels);
}
void write(JsonWriter& json, const StopSession& stop) {
  json.field("op", "stop").field("kill", stop.kill);
}

std::unexpected<Error> wrong(Error error) {
  return std::unexpected(
      std::move(error).context("the request is wrong").with_remedy("docs/sessions.md says what can be asked"));
}

}  // namespace

Result<SessionRequest> parse_session_request(std::string_view line) {
  if (is_control(line)) return parse_control_request(line);
  auto request = parse(line);
  if (!request) return wrong(std::move(request).error());
  return request;
}

Result<> parse_commit(std::string_view line) {
  const auto document = parse_json(line);
  if (document && document->is_object() && document->size() == 1 && document->contains("commit") &&
      (*document)["commit"] == true)
    return {};
  return wrong(Error("what follows is no {\"commit\": true}"));
}

std::string session_request_line(const SessionRequest& request) {
  JsonWriter json;
  json.begin_object();
  std::visit([&](const auto& each) { write(json, each); }, request);
  json.end_object();
  return json.take() + '\n';
}

}  // namespace weir::wire
