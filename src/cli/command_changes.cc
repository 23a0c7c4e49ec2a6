// weir diff and weir apply: what a run changed in overlays, shown and taken over.
#include <algorithm>
#include <set>
#include <vector>

#include "audit/tally.h"
#include "base/failure_line.h"
#include "base/json.h"
#include "changes/patch.h"
#include "changes/store.h"
#include "changes/take_over.h"
#include "cli/command.h"
#include "supervisor/record/audit_log.h"
#include "supervisor/record/events_sweep.h"
#include "supervisor/state_folder.h"

namespace weir::cli {
namespace {

using changes::KeptEntry;
using changes::LayerChange;
using changes::Manifest;
using changes::Outlook;
using changes::Place;
using State = Outlook::State;

constexpr std::string_view kInsistFile = "file=";
// What diff prints of all patches together, more or less: it is held in memory.
constexpr std::size_t kMaxPatches = 16u << 20;

// Absolute, without empty, "." and ".." parts: names only, nothing is looked at.
std::string normalized(const std::string& path) {
  std::vector<std::string_view> parts;
  for (std::string_view rest = path; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    if (part == ".." && !parts.empty()) parts.pop_back();
    if (!part.empty() && part != "." && part != "..") parts.push_back(part);
  }
  std::string whole;
  for (const std::string_view part : parts) whole.append("/").append(part);
  return whole.empty() ? "/" : whole;
}

// The share that holds the path; the one that begins deepest.
Result<Place> place_of(const std::string& text, const Caller& caller, const Manifest& manifest) {
  const std::string path = normalized(text.starts_with('/') ? text : caller.folder + "/" + text);
  std::optional<Place> found;
  std::size_t deepest = 0;
  for (std::uint32_t i = 0; i < manifest.shares.size(); ++i) {
    const std::string& source = manifest.shares[i].source;
    const bool is_it = path == source;
    const std::string folder = source == "/" ? source : source + "/";
    if ((!is_it && !path.starts_with(folder)) || source.size() < deepest) continue;
    found = Place{i, is_it ? "" : path.substr(folder.size())};
    deepest = source.size();
  }
  if (found) return *found;
  return std::unexpected(Error("'" + text + "' is not in a folder that " + manifest.sandbox + " changed")
                             .with_remedy("write a path as it is outside, in " + manifest.shares.front().source));
}

struct Request {
  changes::Kept kept;
  std::vector<Place> wanted;
  std::set<Place> insisted;
};

Result<> check_wanted(const Place& place, const std::string& text, const Manifest& manifest) {
  const std::uint32_t share = place.first;
  const std::string& path = place.second;
  const auto is_in = [&](const KeptEntry& entry) {
    return entry.share == share &&
           (path.empty() || entry.change.path == path || entry.change.path.starts_with(path + "/"));
  };
  if (path.empty() || std::ranges::any_of(manifest.entries, is_in)) return {};
  return std::unexpected(Error("nothing that " + manifest.sandbox + " changed is at or below '" + text + "'")
                             .with_remedy("weir diff " + manifest.sandbox + " lists what there is"));
}

Result<> read_insisted(const CommandLine& line, const Caller& caller, Request& request) {
  const Manifest& manifest = request.kept.manifest;
  for (const std::string& text : line.values(OptionId::insist_file)) {
    if (!text.starts_with(kInsistFile)) {
      return std::unexpected(Error("option --insist: '" + text + "' names no file").with_remedy("write file=PATH"));
    }
    const std::string path = text.substr(kInsistFile.size());
    WEIR_TRY(Place place, in_context(place_of(path, caller, manifest), "option --insist"));
    const auto is_it = [&](const KeptEntry& entry) { return Place{entry.share, entry.change.path} == place; };
    if (std::ranges::none_of(manifest.entries, is_it)) {
      return std::unexpected(Error("option --insist: " + manifest.sandbox + " did not change '" + path + "'")
                                 .with_remedy("weir diff " + manifest.sandbox + " lists what it changed"));
    }
    request.insisted.insert(std::move(place));
  }
  return {};
}

// The first operand is an id if it looks like one; a file of that name is ./w-0123abcd.
Result<std::string> chosen_run(const CommandLine& line, const Caller& caller, const std::string& folder) {
  if (!line.operands.empty() && supervisor::is_sandbox_id(line.operands[0])) return line.operands[0];
  if (caller.folder.empty())
    return std::unexpected(Error("the current folder is gone").with_remedy("name the run by its ID"));
  return changes::last_kept(folder, caller.folder);
}

Result<Request> read_request(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(const std::string folder, supervisor::changes_folder());
  WEIR_TRY(const std::string sandbox, chosen_run(line, caller, folder));
  Request request;
  WEIR_TRY(request.kept, changes::open_kept(folder, sandbox));
  const bool named = !line.operands.empty() && supervisor::is_sandbox_id(line.operands[0]);
  for (std::size_t i = named ? 1 : 0; i < line.operands.size(); ++i) {
    WEIR_TRY(Place place, place_of(line.operands[i], caller, request.kept.manifest));
    WEIR_CHECK_OK(check_wanted(place, line.operands[i], request.kept.manifest));
    request.wanted.push_back(std::move(place));
  }
  WEIR_CHECK_OK(read_insisted(line, caller, request));
  return request;
}

std::string_view name_of(State state) {
  switch (state) {
    case State::open:
      return "open";
    case State::applied:
      return "applied";
    case State::already:
      return "already";
    case State::refused:
      return "refused";
    case State::failed:
      return "failed";
  }
  return "";
}

std::string joined(const std::vector<std::string>& reasons) {
  std::string text;
  for (const std::string& reason : reasons) text += (text.empty() ? "" : "; ") + reason;
  return text;
}

// "changed file src/a.c, 3 KiB"
std::string change_text(const Manifest& manifest, const KeptEntry& entry) {
  const LayerChange& change = entry.change;
  const bool gone = change.kind == LayerChange::Kind::deleted;
  std::string text(name_of(change.kind));
  text += gone ? "" : " " + std::string(name_of(change.type));
  text += " " + (manifest.shares.size() > 1 ? manifest.shares[entry.share].source + "/" : "") + change.path;
  if (!change.link_target.empty()) text += " -> " + change.link_target;
  if (change.type == LayerChange::Type::file && !gone) {
    text += ", " + audit::bytes_text(change.bytes) + ((change.mode & 0111) != 0 ? ", executable" : "");
  }
  return text;
}

std::string left_out_text(const Manifest& manifest) {
  return manifest.left_out == 0 ? "" : "and " + std::to_string(manifest.left_out) + " more that were not kept\n";
}

std::string remarks_of(const Outlook& outlook) {
  std::string text = joined(outlook.reasons);
  if (!outlook.note.empty()) text += (text.empty() ? "" : "; ") + outlook.note;
  if (outlook.state == State::already) text = "the folder holds it";
  return text.empty() ? "" : " (" + text + ")";
}

void outlook_object(JsonWriter& json, const Manifest& manifest, const Outlook& outlook) {
  const KeptEntry& entry = manifest.entries[outlook.entry];
  const LayerChange& change = entry.change;
  json.begin_object()
      .field("folder", std::string_view(manifest.shares[entry.share].source))
      .field("path", std::string_view(change.path))
      .field("kind", name_of(change.kind))
      .field("type", name_of(change.type))
      .field("bytes", change.bytes)
      .field("mode", std::uint64_t{change.mode})
      .field("state", name_of(outlook.state))
      .field("conflict", outlook.conflict)
      .field("insistable", outlook.insistable);
  if (!change.link_target.empty()) json.field("link_target", std::string_view(change.link_target));
  if (!outlook.note.empty()) json.field("note", std::string_view(outlook.note));
  json.key("reasons").begin_array();
  for (const std::string& reason : outlook.reasons) json.value(std::string_view(reason));
  json.end_array().end_object();
}

std::string outlooks_json(const Manifest& manifest, const std::vector<Outlook>& outlooks) {
  JsonWriter json;
  json.begin_object().field("sandbox", std::string_view(manifest.sandbox));
  json.field("command", std::string_view(manifest.command)).field("started", std::string_view(manifest.started));
  json.field("left_out", manifest.left_out).key("changes").begin_array();
  for (const Outlook& outlook : outlooks) outlook_object(json, manifest, outlook);
  json.end_array().end_object();
  return json.take() + "\n";
}

Result<Outcome> show(const CommandLine& line, const Request& request) {
  const Manifest& manifest = request.kept.manifest;
  WEIR_TRY(const OutputFormat format, output_format(line));
  changes::TakeOver look(manifest, request.kept.contents, changes::TakeOver::Mode::look, {});
  const std::vector<Outlook> outlooks = look.run(request.wanted);
  Outcome outcome;
  if (format == OutputFormat::json) {
    outcome.out = outlooks_json(manifest, outlooks);
    return outcome;
  }
  outcome.out = printable(manifest.sandbox + "  " + manifest.started + "  " + manifest.command + "  in " +
                          manifest.shares.front().source) +
                "\n";
  std::uint64_t bytes = 0;
  for (const Outlook& outlook : outlooks) {
    const KeptEntry& entry = manifest.entries[outlook.entry];
    bytes += entry.change.bytes;
    outcome.out += "  " + printable(change_text(manifest, entry) + remarks_of(outlook)) + "\n";
    if (!line.has(OptionId::patch)) continue;
    if (outcome.out.size() < kMaxPatches) {
      outcome.out += changes::patch_of(manifest, entry, request.kept.contents);
    } else {
      outcome.out += "    not shown, there is too much: name the path\n";
    }
  }
  outcome.out += outlooks.empty() ? "nothing was changed\n"
                                  : std::to_string(outlooks.size()) + " changes, " + audit::bytes_text(bytes) + "\n";
  outcome.out += left_out_text(manifest);
  return outcome;
}

// Only a person is told how to open the door, as at the end of weir run.
enum class Reader : std::uint8_t { person, program };

// As a word for a shell: the guest has chosen it.
std::string shell_word(const std::string& text) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._/=+,:@-").contains(c);
  };
  if (std::ranges::all_of(text, is_plain)) return text;
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

// What there is to do about it; empty: nothing to be typed.
std::string remedy_of(const Manifest& manifest, const Outlook& outlook, Reader reader) {
  if (reader == Reader::program || outlook.state != State::refused || !outlook.insistable) return "";
  const KeptEntry& entry = manifest.entries[outlook.entry];
  const std::string path = manifest.shares[entry.share].source + "/" + entry.change.path;
  return printable(path) == path ? "; to take it over: --insist " + shell_word("file=" + path) : "";
}

std::string results_text(const Manifest& manifest, const std::vector<Outlook>& outlooks, Reader reader) {
  std::string text;
  std::size_t done = 0;
  std::size_t already = 0;
  for (const Outlook& outlook : outlooks) {
    done += outlook.state == State::applied || outlook.state == State::open ? 1 : 0;
    already += outlook.state == State::already ? 1 : 0;
    if (outlook.state == State::already) continue;
    std::string state(name_of(outlook.state));
    if (outlook.state == State::open) state = "would apply";
    text += printable(state + ": " + change_text(manifest, manifest.entries[outlook.entry]) + remarks_of(outlook) +
                      remedy_of(manifest, outlook, reader)) +
            "\n";
  }
  const std::uint64_t left = outlooks.size() - done - already + manifest.left_out;
  return text + std::to_string(done) + " taken over, " + std::to_string(already) + " were there already, " +
         std::to_string(left) + " left\n";
}

Result<Outcome> take_over(const CommandLine& line, const Caller& caller, const Request& request) {
  using Mode = changes::TakeOver::Mode;
  const Manifest& manifest = request.kept.manifest;
  WEIR_TRY(const OutputFormat format, output_format(line));
  const Mode mode = line.has(OptionId::dry_run) ? Mode::look : Mode::apply;
  changes::TakeOver work(manifest, request.kept.contents, mode, request.insisted);
  const std::vector<Outlook> outlooks = work.run(request.wanted);
  const bool left = manifest.left_out != 0 || std::ranges::any_of(outlooks, [](const Outlook& outlook) {
                      return outlook.state == State::refused || outlook.state == State::failed;
                    });
  const Reader reader = caller.columns == 0 ? Reader::program : Reader::person;
  Outcome outcome;
  outcome.exit_code = left ? 1 : 0;
  outcome.out =
      format == OutputFormat::json ? outlooks_json(manifest, outlooks) : results_text(manifest, outlooks, reader);
  return outcome;
}

Result<Outcome> discard(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(const std::string folder, supervisor::changes_folder());
  WEIR_TRY(const std::string sandbox, chosen_run(line, caller, folder));
  const std::size_t ids = !line.operands.empty() && line.operands[0] == sandbox ? 1 : 0;
  if (line.operands.size() > ids || line.has(OptionId::insist_file) || line.has(OptionId::dry_run)) {
    return std::unexpected(
        Error("option --discard removes all that is kept of a run").with_remedy("write weir apply --discard [ID]"));
  }
  WEIR_CHECK_OK(changes::discard_kept(folder, sandbox));
  return Outcome{.out = "discarded the changes of " + sandbox + "\n", .err = {}, .start = {}};
}

}  // namespace

Result<Outcome> changes_command(const CommandLine& line, const Caller& caller) {
  if (line.has(OptionId::discard)) return discard(line, caller);
  WEIR_TRY(const Request request, read_request(line, caller));
  return line.command == CommandId::diff ? show(line, request) : take_over(line, caller, request);
}

}  // namespace weir::cli
