#include "wire/session_reply.h"

#include "wire/json_fields.h"

namespace weir::wire {

namespace {

void write_text(JsonWriter& json, std::string_view key, const std::string& text) {
  if (!text.empty()) json.field(key, std::string_view(text));
}

void write_count(JsonWriter& json, std::string_view key, std::uint64_t count) {
  if (count != 0) json.field(key, count);
}

std::uint64_t wide(std::uint64_t number) {
  return number;
}

void write_texts(JsonWriter& json, std::string_view key, const std::vector<std::string>& items) {
  json.key(key).begin_array();
  for (const std::string& item : items) json.value(std::string_view(item));
  json.end_array();
}

void write_process(JsonWriter& json, const ProcessInfo& process) {
  json.begin_object().field("pid", wide(process.pid)).field("argv0", std::string_view(process.argv0));
  json.field("detached", process.detached).field("started", std::string_view(process.started));
  if (process.exited) write_exited(json.key("exited"), *process.exited);
  json.field("stdout_bytes", process.stdout_bytes).field("stderr_bytes", process.stderr_bytes);
  json.end_object();
}

void write(JsonWriter& json, const SessionInfo& session) {
  write_session(json.key("session"), session);
}
void write(JsonWriter& json, const StartedProcess& started) {
  json.key("started").begin_object().field("pid", wide(started.pid)).end_object();
}
void write(JsonWriter& json, const ExitedProcess& exited) {
  write_exited(json.key("exited"), exited);
}
void write(JsonWriter& json, const ProcessList& list) {
  json.key("processes").begin_array();
  for (const ProcessInfo& process : list.processes) write_process(json, process);
  json.end_array();
}
void write(JsonWriter& json, const Done&) {
  json.field("ok", true);
}
void write(JsonWriter& json, const OutputInfo& output) {
  json.key("output").begin_object();
  json.field("stdout_bytes", output.stdout_bytes).field("stderr_bytes", output.stderr_bytes);
  json.field("truncated", output.truncated);
  if (output.exited) write_exited(json.key("exited"), *output.exited);
  json.end_object();
}
void write(JsonWriter& json, const FileInfo& file) {
  json.key("file").begin_object().field("bytes", file.bytes).field("mode", wide(file.mode));
  json.field("modified", file.modified);
  write_text(json, "type", file.type);
  json.end_object();
}
void write(JsonWriter& json, const Narrowed& narrowed) {
  json.field("generation", narrowed.generation).field("policy", std::string_view(narrowed.policy));
  json.field("cut", narrowed.cut);
  write_texts(json, "warnings", narrowed.warnings);
}

// --- reading

Result<JsonFields> fields_of(const Json& value, std::string_view what) {
  if (!value.is_object()) return fail(quoted_key(what) + " is no object");
  return JsonFields(value);
}

Result<ExitedProcess> read_exited(const Json& value) {
  ExitedProcess exited;
  WEIR_TRY(JsonFields fields, fields_of(value, "exited"));
  WEIR_CHECK_OK(fields.integer("exit_code", exited.exit_code));
  WEIR_CHECK_OK(fields.number("signal", exited.signal));
  WEIR_CHECK_OK(fields.truth("timed_out", exited.timed_out));
  WEIR_CHECK_OK(fields.number("duration_ms", exited.duration_ms));
  WEIR_CHECK_OK(fields.text("not_executed", exited.not_executed));
  const Json* const refused = fields.member("refused");
  if (refused != nullptr && !refused->is_array()) return fail("'refused' is no list");
  for (std::size_t i = 0; refused != nullptr && i < refused->size(); ++i) {
    WEIR_TRY(JsonFields item, fields_of((*refused)[i], "refused"));
    auto& one = exited.refused.emplace_back();
    WEIR_CHECK_OK(item.text("destination", one.destination));
    WEIR_CHECK_OK(item.text("reason", one.reason));
    WEIR_CHECK_OK(item.number("times", one.times));
  }
  WEIR_CHECK_OK(fields.number("refused_more", exited.refused_more));
  WEIR_CHECK_OK(fields.texts("limits", exited.limits));
  return exited;
}

Result<> read_exited_member(JsonFields& fields, std::optional<ExitedProcess>& out) {
  const Json* const value = fields.member("exited");
  if (value == nullptr) return {};
  WEIR_TRY(out, read_exited(*value));
  return {};
}

Result<SessionReply> read_started(const Json& value) {
  StartedProcess started;
  WEIR_TRY(JsonFields fields, fields_of(value, "started"));
  WEIR_CHECK_OK(fields.number("pid", started.pid));
  return started;
}

Result<SessionReply> read_processes(const Json& value) {
  if (!value.is_array()) return fail("'processes' is no list");
  ProcessList list;
  for (const Json& each : value) {
    WEIR_TRY(JsonFields fields, fields_of(each, "processes"));
    ProcessInfo& process = list.processes.emplace_back();
    WEIR_CHECK_OK(fields.number("pid", process.pid));
    WEIR_CHECK_OK(fields.text("argv0", process.argv0));
    WEIR_CHECK_OK(fields.truth("detached", process.detached));
    WEIR_CHECK_OK(fields.text("started", process.started));
    WEIR_CHECK_OK(read_exited_member(fields, process.exited));
    WEIR_CHECK_OK(fields.number("stdout_bytes", process.stdout_bytes));
    WEIR_CHECK_OK(fields.number("stderr_bytes", process.stderr_bytes));
  }
  return list;
}

Result<SessionReply> read_output(const Json& value) {
  OutputInfo output;
  WEIR_TRY(JsonFields fields, fields_of(value, "output"));
  WEIR_CHECK_OK(fields.number("stdout_bytes", output.stdout_bytes));
  WEIR_CHECK_OK(fields.number("stderr_bytes", output.stderr_bytes));
  WEIR_CHECK_OK(fields.truth("truncated", output.truncated));
  WEIR_CHECK_OK(read_exited_member(fields, output.exited));
  return output;
}

Result<SessionReply> read_file_info(const Json& value) {
  FileInfo file;
  WEIR_TRY(JsonFields fields, fields_of(value, "file"));
  WEIR_CHECK_OK(fields.number("bytes", file.bytes));
  WEIR_CHECK_OK(fields.number("mode", file.mode));
  WEIR_CHECK_OK(fields.integer("modified", file.modified));
  WEIR_CHECK_OK(fields.text("type", file.type));
  return file;
}

Result<SessionReply> read_error(const Json& value) {
  WEIR_TRY(JsonFields fields, fields_of(value, "error"));
  std::string code;
  Refusal refusal;
  WEIR_CHECK_OK(fields.text("code", code));
  WEIR_CHECK_OK(fields.text("message", refusal.message));
  WEIR_CHECK_OK(fields.text("remedy", refusal.remedy));
  refusal.code = error_code_of(code).value_or(ErrorCode::internal);
  return refusal;
}

Result<SessionReply> read_narrowed(const Json& document) {
  JsonFields fields(document);
  Narrowed narrowed;
  WEIR_CHECK_OK(fields.number("generation", narrowed.generation));
  WEIR_CHECK_OK(fields.text("policy", narrowed.policy));
  WEIR_CHECK_OK(fields.number("cut", narrowed.cut));
  WEIR_CHECK_OK(fields.texts("warnings", narrowed.warnings));
  return narrowed;
}

Result<> read_limits(const Json& value, SessionInfo::Limits& limits) {
  WEIR_TRY(JsonFields fields, fields_of(value, "limits"));
  WEIR_CHECK_OK(fields.number("memory_bytes", limits.memory_bytes));
  WEIR_CHECK_OK(fields.number("cpu_millis", limits.cpu_millis));
  WEIR_CHECK_OK(fields.number("processes", limits.processes));
  return fields.number("disk_bytes", limits.disk_bytes);
}

Result<> read_usage(const Json& value, SessionInfo::Usage& usage) {
  WEIR_TRY(JsonFields fields, fields_of(value, "usage"));
  WEIR_CHECK_OK(fields.number("cpu_ms", usage.cpu_ms));
  WEIR_CHECK_OK(fields.number("memory_bytes", usage.memory_bytes));
  WEIR_CHECK_OK(fields.number("processes", usage.processes));
  WEIR_CHECK_OK(fields.number("disk_bytes", usage.disk_bytes));
  return fields.number("flows", usage.flows);
}

Result<> read_service(const Json& value, std::optional<ServiceInfo>& out) {
  WEIR_TRY(JsonFields fields, fields_of(value, "service"));
  ServiceInfo& service = out.emplace();
  WEIR_CHECK_OK(fields.text("bootstrap", service.bootstrap));
  WEIR_CHECK_OK(fields.text("restart", service.restart));
  WEIR_CHECK_OK(fields.number("restarts", service.restarts));
  WEIR_CHECK_OK(fields.text("health", service.health));
  return fields.number("pid", service.pid);
}

Result<> read_groups(JsonFields& fields, SessionInfo& session) {
  if (const Json* const limits = fields.member("limits")) WEIR_CHECK_OK(read_limits(*limits, session.limits));
  if (const Json* const usage = fields.member("usage")) WEIR_CHECK_OK(read_usage(*usage, session.usage));
  if (const Json* const service = fields.member("service")) WEIR_CHECK_OK(read_service(*service, session.service));
  return {};
}

Result<SessionInfo> read_session(const Json& value) {
  SessionInfo session;
  WEIR_TRY(JsonFields fields, fields_of(value, "session"));
  WEIR_CHECK_OK(fields.text("id", session.id));
  WEIR_CHECK_OK(fields.text("name", session.name));
  WEIR_CHECK_OK(fields.text("state", session.state));
  WEIR_CHECK_OK(fields.text("created", session.created));
  WEIR_CHECK_OK(fields.text("expires", session.expires));
  WEIR_CHECK_OK(fields.number("idle_seconds", session.idle_seconds));
  WEIR_CHECK_OK(fields.text("on_idle", session.on_idle));
  WEIR_CHECK_OK(fields.pairs("labels", session.labels));
  WEIR_CHECK_OK(fields.text("network_mode", session.network_mode));
  WEIR_CHECK_OK(fields.text("policy", session.policy));
  WEIR_CHECK_OK(fields.number("generation", session.generation));
  WEIR_CHECK_OK(fields.text("image", session.image));
  WEIR_CHECK_OK(fields.text("snapshot", session.snapshot));
  WEIR_CHECK_OK(fields.texts("ports", session.ports));
  WEIR_CHECK_OK(fields.number("processes", session.processes));
  WEIR_CHECK_OK(fields.text("events", session.events));
  WEIR_CHECK_OK(fields.number("supervisor", session.supervisor));
  WEIR_CHECK_OK(read_groups(fields, session));
  return session;
}

void write_groups(JsonWriter& json, const SessionInfo& session) {
  const SessionInfo::Limits& limits = session.limits;
  json.key("limits").begin_object();
  write_count(json, "memory_bytes", limits.memory_bytes);
  write_count(json, "cpu_millis", limits.cpu_millis);
  write_count(json, "processes", limits.processes);
  write_count(json, "disk_bytes", limits.disk_bytes);
  json.end_object();
  const SessionInfo::Usage& usage = session.usage;
  json.key("usage").begin_object().field("cpu_ms", usage.cpu_ms).field("memory_bytes", usage.memory_bytes);
  json.field("processes", usage.processes).field("disk_bytes", usage.disk_bytes).field("flows", usage.flows);
  json.end_object();
  if (!session.service) return;
  const ServiceInfo& service = *session.service;
  json.key("service").begin_object().field("bootstrap", std::string_view(service.bootstrap));
  json.field("restart", std::string_view(service.restart)).field("restarts", service.restarts);
  json.field("health", std::string_view(service.health));
  write_count(json, "pid", service.pid);
  json.end_object();
}

}  // namespace

void write_exited(JsonWriter& json, const ExitedProcess& exited) {
  json.begin_object().field("exit_code", exited.exit_code);
  write_count(json, "signal", exited.signal);
  json.field("timed_out", exited.timed_out).field("duration_ms", exited.duration_ms);
  json.key("refused").begin_array();
  for (const ExitedProcess::Refused& each : exited.refused) {
    json.begin_object().field("destination", std::string_view(each.destination));
    json.field("reason", std::string_view(each.reason)).field("times", each.times).end_object();
  }
  json.end_array();
  write_count(json, "refused_more", exited.refused_more);
  write_texts(json, "limits", exited.limits);
  write_text(json, "not_executed", exited.not_executed);
  json.end_object();
}

void write_session(JsonWriter& json, const SessionInfo& session) {
  json.begin_object().field("id", std::string_view(session.id));
  write_text(json, "name", session.name);
  json.field("state", std::string_view(session.state)).field("created", std::string_view(session.created));
  write_text(json, "expires", session.expires);
  write_count(json, "idle_seconds", session.idle_seconds);
  write_text(json, "on_idle", session.on_idle);
  json.key("labels").begin_object();
  for (const auto& [name, value] : session.labels) json.field(name, std::string_view(value));
  json.end_object().field("network_mode", std::string_view(session.network_mode));
  json.field("policy", std::string_view(session.policy)).field("generation", session.generation);
  write_text(json, "image", session.image);
  write_text(json, "snapshot", session.snapshot);
  write_texts(json, "ports", session.ports);
  write_groups(json, session);
  json.field("processes", session.processes);
  write_text(json, "events", session.events);
  write_count(json, "supervisor", session.supervisor);
  json.end_object();
}

Result<SessionInfo> parse_session(const std::string& text) {
  WEIR_TRY(const Json document, parse_json(text));
  return read_session(document);
}

std::string session_reply_line(const SessionReply& reply) {
  if (const auto* const refusal = std::get_if<Refusal>(&reply)) return error_line(*refusal);
  if (const auto* const snapshot = std::get_if<SnapshotInfo>(&reply)) return "{\"snapshot\":" + snapshot->json + "}\n";
  JsonWriter json;
  json.begin_object();
  std::visit(
      [&]<class Each>(const Each& each) {
        if constexpr (!std::is_same_v<Each, Refusal> && !std::is_same_v<Each, SnapshotInfo>) write(json, each);
      },
      reply);
  json.end_object();
  return json.take() + '\n';
}

Result<SessionReply> parse_session_reply(std::string_view line) {
  WEIR_TRY(const Json document, parse_json(line));
  if (!document.is_object()) return fail("no object");
  if (const Json* const error = json_member(document, "error")) return read_error(*error);
  if (const Json* const session = json_member(document, "session")) return read_session(*session);
  if (const Json* const started = json_member(document, "started")) return read_started(*started);
  if (const Json* const exited = json_member(document, "exited")) return read_exited(*exited);
  if (const Json* const processes = json_member(document, "processes")) return read_processes(*processes);
  if (const Json* const output = json_member(document, "output")) return read_output(*output);
  if (const Json* const file = json_member(document, "file")) return read_file_info(*file);
  if (const Json* const snapshot = json_member(document, "snapshot")) return SnapshotInfo{.json = snapshot->dump()};
  if (json_member(document, "generation") != nullptr) return read_narrowed(document);
  if (json_member(document, "ok") != nullptr) return Done{};
  return fail("an answer that is not known");
}

}  // namespace weir::wire
