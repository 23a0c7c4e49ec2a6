#include "cli/session/show.h"

#include <ctime>

#include "base/failure_line.h"
#include "base/json.h"
#include "base/quantity.h"
#include "cli/table.h"

namespace weir::cli {
namespace {

constexpr std::size_t kRefusalLines = 5;  // as many as weir run has

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string row(std::string_view title, const std::string& text) {
  if (text.empty()) return "";
  std::string out(title);
  out.append(out.size() < 12 ? 12 - out.size() : 1, ' ');
  return out + printable(text) + "\n";
}

std::string limits_of(const wire::SessionInfo::Limits& limits) {
  std::vector<std::string> words;
  if (limits.memory_bytes != 0) words.push_back("memory " + short_size(limits.memory_bytes));
  if (limits.cpu_millis != 0) words.push_back("processors " + std::to_string(limits.cpu_millis) + "/1000");
  if (limits.processes != 0) words.push_back("processes " + std::to_string(limits.processes));
  if (limits.disk_bytes != 0) words.push_back("disk " + short_size(limits.disk_bytes));
  return joined(words);
}

std::string usage_of(const wire::SessionInfo::Usage& usage) {
  return duration_text(usage.cpu_ms) + " of processors, memory " + short_size(usage.memory_bytes) + ", " +
         std::to_string(usage.processes) + " processes, disk " + short_size(usage.disk_bytes) + ", " +
         std::to_string(usage.flows) + " connections";
}

std::string labels_of(const wire::SessionInfo::Labels& labels) {
  std::vector<std::string> words;
  for (const auto& [key, value] : labels) words.push_back(key + "=" + value);
  return joined(words);
}

std::string service_of(const wire::ServiceInfo& service) {
  return service.health + ", restart " + service.restart + ", restarted " + std::to_string(service.restarts) + " times";
}

std::string state_of(const wire::ProcessInfo& process) {
  if (!process.exited) return "running";
  const wire::ExitedProcess& exited = *process.exited;
  if (exited.timed_out) return "timed out";
  return "exit " + std::to_string(exited.exit_code);
}

void process_object(JsonWriter& json, const wire::ProcessInfo& process) {
  json.begin_object()
      .field("pid", std::uint64_t{process.pid})
      .field("argv0", std::string_view(process.argv0))
      .field("detached", process.detached)
      .field("started", std::string_view(process.started))
      .field("stdout_bytes", process.stdout_bytes)
      .field("stderr_bytes", process.stderr_bytes);
  if (process.exited) {
    json.key("exited");
    wire::write_exited(json, *process.exited);
  }
  json.end_object();
}

}  // namespace

std::int64_t seconds_of(const std::string& time) {
  std::tm parts{};
  if (time.size() < 20 || ::strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr) return 0;
  return ::timegm(&parts);
}

std::string sessions_text(std::span<const wire::SessionInfo> sessions, std::int64_t now) {
  Table table({"ID", "NAME", "STATE", "AGE", "NETWORK", "PROCESSES", "IMAGE", "PORTS"});
  for (const wire::SessionInfo& session : sessions) {
    const std::int64_t created = seconds_of(session.created);
    const std::string age = created == 0 || created > now ? "" : short_time(static_cast<std::uint64_t>(now - created));
    table.add({session.id, session.name, session.state, age, session.network_mode, std::to_string(session.processes),
               session.snapshot.empty() ? session.image : session.snapshot, joined(session.ports)});
  }
  return table.text();
}

std::string services_text(std::span<const wire::SessionInfo> services) {
  Table table({"ID", "NAME", "STATE", "HEALTH", "RESTART", "RESTARTS", "NETWORK", "PORTS"});
  for (const wire::SessionInfo& each : services) {
    const wire::ServiceInfo service = each.service.value_or(wire::ServiceInfo{});
    table.add({each.id, each.name, each.state, service.health, service.restart, std::to_string(service.restarts),
               each.network_mode, joined(each.ports)});
  }
  return table.text();
}

std::string sessions_json(std::span<const wire::SessionInfo> sessions) {
  JsonWriter json;
  json.begin_array();
  for (const wire::SessionInfo& session : sessions) wire::write_session(json, session);
  json.end_array();
  return json.take() + "\n";
}

std::string session_json(const wire::SessionInfo& session) {
  JsonWriter json;
  wire::write_session(json, session);
  return json.take() + "\n";
}

std::string session_text(const wire::SessionInfo& session) {
  std::string out = row("session", session.id) + row("name", session.name) + row("state", session.state);
  out += row("created", session.created) + row("expires", session.expires);
  if (session.idle_seconds != 0)
    out += row("when idle", session.on_idle + " after " + short_time(session.idle_seconds));
  out += row("labels", labels_of(session.labels)) + row("image", session.image) + row("snapshot", session.snapshot);
  out += row("network", session.network_mode + ", policy " + session.policy + ", generation " +
                            std::to_string(session.generation));
  out += row("ports", joined(session.ports)) + row("limits", limits_of(session.limits));
  out += row("usage", usage_of(session.usage)) + row("processes", std::to_string(session.processes));
  if (session.service) {
    out += row("service", service_of(*session.service)) + row("bootstrap", session.service->bootstrap);
  }
  return out + row("events", session.events) + row("supervisor", std::to_string(session.supervisor));
}

std::string processes_text(const wire::ProcessList& list) {
  Table table({"PID", "STATE", "STARTED", "DETACHED", "STDOUT", "STDERR", "PROGRAM"});
  for (const wire::ProcessInfo& process : list.processes) {
    table.add({std::to_string(process.pid), state_of(process), process.started, process.detached ? "yes" : "no",
               process.detached ? short_size(process.stdout_bytes) : "",
               process.detached ? short_size(process.stderr_bytes) : "", process.argv0});
  }
  return table.text();
}

std::string processes_json(const wire::ProcessList& list) {
  JsonWriter json;
  json.begin_array();
  for (const wire::ProcessInfo& process : list.processes) process_object(json, process);
  json.end_array();
  return json.take() + "\n";
}

std::string ending_text(const wire::ExitedProcess& exited, const std::string& id, supervisor::Verbosity says) {
  std::string out;
  const auto say = [&](const std::string& line) { out += failure_line(Error(line)); };
  if (!exited.not_executed.empty()) say(exited.not_executed);
  if (exited.timed_out) say("the command was ended: it ran longer than its --timeout");
  if (says == supervisor::Verbosity::quiet) return out;
  if (!exited.limits.empty()) say("reached meanwhile: limit " + joined(exited.limits));
  for (std::size_t i = 0; i < exited.refused.size() && i < kRefusalLines; ++i) {
    const auto& refused = exited.refused[i];
    const std::string times = refused.times > 1 ? ", " + std::to_string(refused.times) + " times" : "";
    say("refused " + refused.destination + " (" + refused.reason + ")" + times);
  }
  if (exited.refused.size() > kRefusalLines)
    say("and " + std::to_string(exited.refused.size() - kRefusalLines) + " more: weir log " + id);
  return out;
}

}  // namespace weir::cli
