#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/failure_line.h"
#include "base/json.h"
#include "base/json_document.h"
#include "cli/command.h"
#include "cli/image_input.h"
#include "cli/run_plan.h"
#include "cli/session/reach.h"
#include "cli/snapshot_input.h"
#include "sys/errno.h"
#include "wire/labels.h"

namespace weir::cli {
namespace {

using image::Snapshot;

std::string padded(std::string text, std::size_t width) {
  text.append(text.size() < width ? width - text.size() : 1, ' ');
  return text;
}

std::string size_text(const Snapshot& snapshot) {
  std::uint64_t bytes = 0;
  for (const image::SnapshotLayer& layer : snapshot.layers) bytes += layer.bytes;
  return bytes < (1u << 20) ? std::to_string((bytes + 1023) >> 10) + " KiB" : std::to_string(bytes >> 20) + " MiB";
}

std::string base_text(const Snapshot& snapshot) {
  return snapshot.base.image.empty() ? "the host's programs" : "image " + printable(snapshot.base.image);
}

std::string row(const char* title, const std::string& text) {
  return text.empty() ? "" : padded(title, 12) + text + "\n";
}

std::string text_of(const Snapshot& snapshot) {
  std::string out = row("id", snapshot.id) + row("name", printable(snapshot.name)) +
                    row("created", printable(snapshot.created)) + row("over", base_text(snapshot));
  for (const image::SnapshotLayer& layer : snapshot.layers) {
    out += row("layer", "sha256:" + layer.digest + " (" + std::to_string(layer.entries) + " entries, " +
                            std::to_string(layer.bytes) + " bytes)");
  }
  out += row("network",
             printable(snapshot.mode) + (snapshot.policy.empty() ? "" : " (" + printable(snapshot.policy) + ")"));
  if (!snapshot.taint.empty())
    out += row("taint", printable(snapshot.taint) + ": with more network only by --insist taint");
  out +=
      row("session", printable(snapshot.session + (snapshot.session_name.empty() ? "" : " " + snapshot.session_name)));
  out += row("parent", printable(snapshot.parent));
  for (const auto& [key, value] : snapshot.labels) out += row("label", printable(key + "=" + value));
  return out;
}

std::string broken_json(const image::BrokenSnapshot& broken) {
  JsonWriter json;
  json.begin_object().field("id", std::string_view(broken.id)).field("name", std::string_view(broken.id));
  return json.field("broken", std::string_view(broken.why)).end_object().take();
}

std::string notes(const image::Snapshots& store) {
  std::string text;
  for (const std::string& line : store.leftovers()) text += "weir: " + printable(line) + "\n";
  return text;
}

Result<Outcome> list(image::Snapshots& store, OutputFormat format) {
  WEIR_TRY(const image::Snapshots::All all, store.list());
  const std::vector<Snapshot>& snapshots = all.readable;
  Outcome outcome;
  outcome.err = notes(store);
  for (const image::BrokenSnapshot& each : all.broken) {
    outcome.err += "weir: snapshot " + printable(each.id) + " cannot be read: " + printable(each.why) +
                   "; weir snapshot rm " + printable(each.id) + " removes it\n";
  }
  if (format == OutputFormat::json) {
    for (const image::BrokenSnapshot& each : all.broken)
      outcome.out += (outcome.out.empty() ? "[" : ",") + broken_json(each);
    for (const Snapshot& snapshot : snapshots)
      outcome.out += (outcome.out.empty() ? "[" : ",") + image::snapshot_summary(snapshot);
    outcome.out = outcome.out.empty() ? "[]\n" : outcome.out + "]\n";
    return outcome;
  }
  if (snapshots.empty() && all.broken.empty())
    outcome.err += "weir: no snapshots; weir snapshot create SESSION makes one\n";
  for (const Snapshot& snapshot : snapshots) {
    outcome.out += padded(snapshot.id, 12) + padded(snapshot.name.empty() ? "-" : printable(snapshot.name), 24) +
                   padded(size_text(snapshot), 10) + padded(printable(snapshot.mode), 13) +
                   padded(printable(snapshot.created), 22) + base_text(snapshot) + "\n";
  }
  return outcome;
}

Outcome shown(const Snapshot& snapshot, OutputFormat format, const std::string& text) {
  Outcome outcome;
  outcome.out = format == OutputFormat::json ? image::snapshot_summary(snapshot) + "\n" : text;
  return outcome;
}

Result<Outcome> export_to(const image::Snapshots& store, const CommandLine& line, const Caller& caller,
                          OutputFormat format) {
  if (line.operands[1] == "-") {
    if (::isatty(STDOUT_FILENO) != 0)
      return std::unexpected(
          Error("an archive is not written to a terminal").with_remedy("weir snapshot export ID FILE"));
    WEIR_TRY(const Snapshot snapshot, store.write_archive(line.operands[0], STDOUT_FILENO));
    static_cast<void>(snapshot);
    return Outcome{};
  }
  WEIR_TRY(const std::string path, absolute_path(line.operands[1], caller.folder));
  WEIR_TRY(const sys::OwnedFd file,
           sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), "cannot make " + path));
  auto snapshot = store.write_archive(line.operands[0], file.get());
  if (!snapshot || ::fsync(file.get()) != 0) {
    const int code = errno;
    ::unlink(path.c_str());
    return snapshot ? sys::errno_error("cannot write " + path, code) : std::unexpected(std::move(snapshot).error());
  }
  return shown(*snapshot, format, "");
}

Result<> check_name(const std::string& name) {
  if (name.empty() || image::is_snapshot_name(name)) return {};
  return std::unexpected(Error("option --name: '" + name + "' is no name of a snapshot")
                             .with_remedy("write 1 to 63 letters, digits, '_', '.', ':' or '-'"));
}

Result<Outcome> import_from(image::Snapshots& store, const CommandLine& line, const Caller& caller,
                            OutputFormat format) {
  const std::string name = line.value(OptionId::snapshot_name).value_or("");
  WEIR_CHECK_OK(check_name(name));
  const std::string id = line.value(OptionId::id).value_or("");
  if (!id.empty() && !image::is_snapshot_id(id)) {
    return std::unexpected(Error("option --id: '" + id + "' is no id of a snapshot")
                               .with_remedy("write s- and 8 hexadecimal digits, or leave it out"));
  }
  WEIR_TRY(const std::string file, image_source(line.operands[0], caller));
  WEIR_TRY(const Snapshot snapshot, store.read_archive(file, {.id = id, .name = name}));
  return shown(snapshot, format, snapshot.id + "\n");
}

// The session's supervisor makes it: only it has the files, and can let everything stand still.
Result<Outcome> create(const CommandLine& line, OutputFormat format) {
  wire::MakeSnapshot request{.name = line.value(OptionId::snapshot_name).value_or(""), .labels = {}};
  WEIR_CHECK_OK(check_name(request.name));
  for (const std::string& label : line.values(OptionId::label)) {
    const std::size_t equals = label.find('=');
    if (equals == std::string::npos) {
      return std::unexpected(Error("option --label: '" + label + "' is no label").with_remedy("write KEY=VALUE"));
    }
    request.labels.emplace_back(label.substr(0, equals), label.substr(equals + 1));
  }
  WEIR_CHECK_OK(in_context(wire::check_labels(request.labels), "option --label"));
  WEIR_TRY(const session::Registry registry, session::Registry::open());
  WEIR_TRY(const wire::SnapshotInfo made,
           reply_as<wire::SnapshotInfo>(session::ask(registry, line.operands[0], request)));
  Outcome outcome;
  if (format == OutputFormat::json) {
    outcome.out = made.json + "\n";
    return outcome;
  }
  WEIR_TRY(const Json document, in_context(parse_json(made.json), "the answer of the session"));
  const auto text = [&](const char* key) {
    const Json* const value = json_member(document, key);
    return value != nullptr && value->is_string() ? printable(value->get<std::string>()) : std::string();
  };
  outcome.out = text("id") + "\n";
  if (const Json* const remarks = json_member(document, "remarks"); remarks != nullptr && remarks->is_array()) {
    for (const Json& remark : *remarks)
      outcome.err += "weir: " + printable(remark.is_string() ? remark.get<std::string>() : "") + "\n";
  }
  return outcome;
}

// Of the API (docs/openapi.yaml).
wire::ErrorCode code_of(const Error& error) {
  if (error.code() == ENOENT) return wire::ErrorCode::snapshot_not_found;
  if (error.code() == EEXIST) return wire::ErrorCode::name_taken;
  return error.code() == EBUSY ? wire::ErrorCode::conflict : wire::ErrorCode::internal;
}

Result<Outcome> do_snapshot(const CommandLine& line, const Caller& caller, OutputFormat format) {
  if (line.command == CommandId::snapshot_create) return create(line, format);
  WEIR_TRY(image::Snapshots store, snapshot_store(caller));
  if (line.command == CommandId::snapshot_ls) return list(store, format);
  if (line.command == CommandId::snapshot_export) return export_to(store, line, caller, format);
  if (line.command == CommandId::snapshot_import) return import_from(store, line, caller, format);
  if (line.command == CommandId::snapshot_show) {
    WEIR_TRY(const Snapshot snapshot, store.show(line.operands[0]));
    return shown(snapshot, format, text_of(snapshot));
  }
  WEIR_TRY(const Snapshot gone, store.remove(line.operands[0]));
  Outcome outcome = shown(gone, format, "");
  outcome.err = notes(store);
  return outcome;
}

}  // namespace

// With --output json a failure is said as the API says it, for programs.
Result<Outcome> snapshot_command(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  auto done = do_snapshot(line, caller, format);
  if (done || format != OutputFormat::json) return done;
  Outcome outcome;
  outcome.exit_code = supervisor::kExitOwnFailure;
  outcome.out = wire::error_line(
      {.code = code_of(done.error()), .message = done.error().what(), .remedy = done.error().remedy()});
  return outcome;
}

}  // namespace weir::cli
