#include "audit/receipt.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/failure_line.h"
#include "base/json.h"
#include "base/json_document.h"

namespace weir::audit {

namespace {

constexpr std::size_t kTitleWidth = 10;
constexpr std::size_t kMaxName = 4096;

std::string row(std::string title, std::string_view text) {
  if (text.empty()) return "";
  title.append(title.size() < kTitleWidth ? kTitleWidth - title.size() : 1, ' ');
  return title + printable(text) + "\n";
}

void optional_field(JsonWriter& json, std::string_view key, std::string_view text) {
  if (!text.empty()) json.field(key, text);
}

std::unexpected<Error> wrong(std::string_view what) {
  return fail(std::string(what));
}

Result<std::uint64_t> number(const Json& entry, const char* key) {
  const Json* found = json_member(entry, key);
  if (found == nullptr || !found->is_number_unsigned())
    return wrong("a destination whose " + std::string(key) + " is no whole number");
  return found->get<std::uint64_t>();
}

Result<std::string> text(const Json& entry, const char* key) {
  const Json* found = json_member(entry, key);
  if (found == nullptr) return std::string();
  if (!found->is_string()) return wrong("a destination whose " + std::string(key) + " is no text");
  auto said = found->get<std::string>();
  if (said.size() > kMaxName) return wrong("a destination whose " + std::string(key) + " is too long");
  return said;
}

Result<std::vector<net::IpAddress>> addresses(const Json& entry) {
  const Json* list = json_member(entry, "addresses");
  if (list == nullptr || !list->is_array() || list->size() > Destination::kMaxAddresses)
    return wrong("a destination without a list of addresses, or with too long a one");
  std::vector<net::IpAddress> all;
  for (const Json& item : *list) {
    const auto address = item.is_string() ? net::IpAddress::parse(item.get<std::string>()) : fail("no text");
    if (!address || address->text() != item.get<std::string>()) return wrong("a destination whose address is none");
    all.push_back(*address);
  }
  return all;
}

Result<> check_members(const Json& entry) {
  constexpr std::array kKnown = {"proto", "name", "addresses", "port", "flows", "bytes_up", "bytes_down"};
  if (!entry.is_object()) return wrong("a destination that is no object");
  for (const auto& [key, value] : entry.items()) {
    if (std::ranges::find(kKnown, std::string_view(key), [](const char* known) { return std::string_view(known); }) ==
        kKnown.end())
      return wrong("the member '" + printable(key.substr(0, 32)) + "' of a destination is unknown");
  }
  return {};
}

Result<Destination> destination(const Json& entry) {
  WEIR_CHECK_OK(check_members(entry));
  Destination found;
  WEIR_TRY(found.proto, text(entry, "proto"));
  WEIR_TRY(found.name, text(entry, "name"));
  WEIR_TRY(found.addresses, addresses(entry));
  if (found.name.empty() && found.addresses.size() != 1)
    return wrong("a destination with neither a name nor an address");
  if (json_member(entry, "port") != nullptr) {
    WEIR_TRY(const std::uint64_t port, number(entry, "port"));
    if (port > std::numeric_limits<net::Port>::max()) return wrong("a destination whose port is too large");
    found.port = static_cast<net::Port>(port);
  }
  WEIR_TRY(found.flows, number(entry, "flows"));
  WEIR_TRY(found.bytes_up, number(entry, "bytes_up"));
  WEIR_TRY(found.bytes_down, number(entry, "bytes_down"));
  return found;
}

std::string files_text(const FileChanges& files) {
  if (!files.looked) return "";
  if (files.changes.empty() && files.left_out == 0) return "\nno file of an overlay was changed\n";
  std::string text = "\nfiles changed in overlays (" + std::string(files.kept ? "kept: weir diff" : "gone now") + ")\n";
  for (const FileChange& change : files.changes) {
    std::string line = change.kind + " " + change.type + " " + change.path;
    if (!change.link_target.empty()) line += " -> " + change.link_target;
    if (change.type == "file" && change.kind != "deleted") line += ", " + bytes_text(change.bytes);
    if (change.runs_outside) line += " (would be run outside by itself)";
    text += "  " + printable(line) + "\n";
  }
  if (files.left_out != 0) text += "  and " + std::to_string(files.left_out) + " more\n";
  return text;
}

void write_files(JsonWriter& json, const FileChanges& files) {
  json.key("files").begin_array();
  for (const FileChange& change : files.changes) {
    json.begin_object().field("path", std::string_view(change.path)).field("kind", std::string_view(change.kind));
    json.field("type", std::string_view(change.type)).field("bytes", change.bytes);
    optional_field(json, "link_target", change.link_target);
    json.field("runs_outside", change.runs_outside).end_object();
  }
  json.end_array().field("files_left_out", files.left_out);
}

}  // namespace

std::string receipt_text(const Receipt& receipt) {
  std::string text = row("sandbox", receipt.sandbox);
  if (receipt.name != receipt.sandbox) text += row("name", receipt.name);
  text += row("command", receipt.command) + row("started", receipt.started) + row("ended", receipt.ended);
  text += row("exit", std::to_string(receipt.exit_code) + (receipt.error.empty() ? "" : " (" + receipt.error + ")"));
  text += row("policy", receipt.policy + " (mode " + receipt.mode + ")") + row("floor", receipt.floor);
  for (const std::string& notice : receipt.notices) text += row("notice", notice);
  text += row("record", receipt.record) + row("warning", receipt.incomplete) + "\n";
  if (receipt.mode == "host")
    return text + "the network of the host: nothing was recorded\n" + files_text(receipt.files);
  text += receipt.tally.empty() ? "nothing was tried\n" : tally_text(receipt.tally);
  return text + files_text(receipt.files);
}

std::string receipt_json(const Receipt& receipt) {
  JsonWriter json;
  json.begin_object().field("receipt", std::uint64_t{1});
  json.field("sandbox", std::string_view(receipt.sandbox)).field("name", std::string_view(receipt.name));
  json.field("command", std::string_view(receipt.command)).field("mode", std::string_view(receipt.mode));
  json.field("policy", std::string_view(receipt.policy));
  optional_field(json, "floor", receipt.floor);
  json.field("started", std::string_view(receipt.started)).field("ended", std::string_view(receipt.ended));
  json.field("exit_code", receipt.exit_code);
  optional_field(json, "error", receipt.error);
  optional_field(json, "record", receipt.record);
  optional_field(json, "incomplete", receipt.incomplete);
  json.key("notices").begin_array();
  for (const std::string& notice : receipt.notices) json.value(std::string_view(notice));
  json.end_array();
  write_tally(json, receipt.tally);
  write_files(json, receipt.files);
  json.end_object();
  return json.take() + "\n";
}

Result<std::vector<Destination>> parse_receipt(std::string_view text) {
  WEIR_TRY(const Json document, parse_json(text));
  const Json* version = json_member(document, "receipt");
  if (version == nullptr || !version->is_number_unsigned()) return wrong("not a receipt");
  if (version->get<std::uint64_t>() != 1) return wrong("a receipt of another version of weir");
  const Json* entries = json_member(document, "destinations");
  if (entries == nullptr || !entries->is_array() || entries->size() > Tally::kMaxEntries)
    return wrong("a receipt without a list of destinations, or with too long a one");
  std::vector<Destination> destinations;
  for (const Json& entry : *entries) {
    WEIR_TRY(Destination found, destination(entry));
    destinations.push_back(std::move(found));
  }
  return destinations;
}

}  // namespace weir::audit
