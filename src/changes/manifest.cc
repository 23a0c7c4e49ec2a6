#include "changes/manifest.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/json.h"
#include "base/json_document.h"

namespace weir::changes {
namespace {

constexpr std::uint64_t kVersion = 1;

// A path is bytes, JSON is Unicode: each byte becomes the character of that number, so that none is lost.
std::string widened(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte >= 0x80) text += static_cast<char>(0xc0 | (byte >> 6));
    text += byte < 0x80 ? c : static_cast<char>(0x80 | (byte & 0x3f));
  }
  return text;
}

Result<std::string> narrowed(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto first = static_cast<std::uint8_t>(text[i]);
    if (first < 0x80) {
      bytes += text[i];
      continue;
    }
    if ((first != 0xc2 && first != 0xc3) || i + 1 == text.size()) return fail("a text with a character above 255");
    bytes += static_cast<char>(((first & 3) << 6) | (static_cast<std::uint8_t>(text[++i]) & 0x3f));
  }
  return bytes;
}

void text_field(JsonWriter& json, std::string_view key, std::string_view bytes) {
  if (!bytes.empty()) json.field(key, std::string_view(widened(bytes)));
}
void number_field(JsonWriter& json, std::string_view key, std::uint64_t number) {
  if (number != 0) json.field(key, number);
}

// What is missing is empty, or 0.
Result<std::string> text_in(const Json& object, const char* key) {
  const Json* found = json_member(object, key);
  if (found == nullptr) return std::string();
  if (!found->is_string()) return fail("a " + std::string(key) + " that is no text");
  return narrowed(found->get_ref<const std::string&>());
}
Result<std::uint64_t> number_in(const Json& object, const char* key, std::uint64_t most) {
  const Json* found = json_member(object, key);
  if (found == nullptr) return std::uint64_t{0};
  if (!found->is_number_unsigned() || found->get<std::uint64_t>() > most)
    return fail("a " + std::string(key) + " that is no number, or too large a one");
  return found->get<std::uint64_t>();
}

Result<LayerChange::Kind> kind_named(std::string_view name) {
  using Kind = LayerChange::Kind;
  for (const Kind kind : {Kind::added, Kind::changed, Kind::deleted, Kind::replaced, Kind::unreadable}) {
    if (name_of(kind) == name) return kind;
  }
  return fail("an unknown kind of change");
}
Result<LayerChange::Type> type_named(std::string_view name) {
  using Type = LayerChange::Type;
  for (const Type type : {Type::file, Type::folder, Type::link, Type::other}) {
    if (name_of(type) == name) return type;
  }
  return fail("an unknown type of file");
}

std::string head_line(const Manifest& manifest) {
  JsonWriter json;
  json.begin_object().field("weir_changes", kVersion).field("entries", std::uint64_t{manifest.entries.size()});
  text_field(json, "sandbox", manifest.sandbox);
  text_field(json, "folder", manifest.folder);
  text_field(json, "command", manifest.command);
  text_field(json, "started", manifest.started);
  number_field(json, "left_out", manifest.left_out);
  json.key("shares").begin_array();
  for (const KeptShare& share : manifest.shares) {
    json.begin_object();
    text_field(json, "source", share.source);
    json.field("inode", share.inode).end_object();
  }
  json.end_array().end_object();
  return json.take() + "\n";
}

std::string entry_line(const KeptEntry& entry) {
  JsonWriter json;
  json.begin_object().field("kind", name_of(entry.change.kind)).field("type", name_of(entry.change.type));
  text_field(json, "path", entry.change.path);
  number_field(json, "share", entry.share);
  number_field(json, "mode", entry.change.mode);
  number_field(json, "bytes", entry.change.bytes);
  number_field(json, "offset", entry.offset);
  text_field(json, "target", entry.change.link_target);
  text_field(json, "before", entry.before);
  number_field(json, "meanwhile", entry.changed_meanwhile ? 1 : 0);
  text_field(json, "not_kept", entry.not_kept);
  json.end_object();
  return json.take() + "\n";
}

Result<std::uint64_t> read_head(std::string_view line, Manifest& manifest) {
  WEIR_TRY(const Json json, parse_json(line));
  const Json* version = json_member(json, "weir_changes");
  if (version == nullptr || *version != kVersion)
    return fail("not the changes of a run, or of another version of weir");
  WEIR_TRY(manifest.sandbox, text_in(json, "sandbox"));
  WEIR_TRY(manifest.folder, text_in(json, "folder"));
  WEIR_TRY(manifest.command, text_in(json, "command"));
  WEIR_TRY(manifest.started, text_in(json, "started"));
  WEIR_TRY(manifest.left_out, number_in(json, "left_out", std::numeric_limits<std::uint64_t>::max()));
  const Json* shares = json_member(json, "shares");
  if (shares == nullptr || !shares->is_array()) return fail("no shares");
  for (const Json& each : *shares) {
    KeptShare share;
    WEIR_TRY(share.source, text_in(each, "source"));
    WEIR_TRY(share.inode, number_in(each, "inode", std::numeric_limits<std::uint64_t>::max()));
    if (!share.source.starts_with('/')) return fail("a share that is no absolute path");
    manifest.shares.push_back(std::move(share));
  }
  return number_in(json, "entries", kMaxEntries);
}

Result<KeptEntry> read_entry(std::string_view line, std::size_t shares) {
  constexpr std::uint64_t kMostBytes = std::numeric_limits<std::int64_t>::max() / 2;  // sums stay within an off_t
  WEIR_TRY(const Json json, parse_json(line));
  KeptEntry entry;
  WEIR_TRY(const std::string kind, text_in(json, "kind"));
  WEIR_TRY(entry.change.kind, kind_named(kind));
  WEIR_TRY(const std::string type, text_in(json, "type"));
  WEIR_TRY(entry.change.type, type_named(type));
  WEIR_TRY(entry.change.path, text_in(json, "path"));
  if (!is_plain_path(entry.change.path)) return fail("a path that is not below its folder");
  WEIR_TRY(const std::uint64_t share, number_in(json, "share", std::numeric_limits<std::uint32_t>::max()));
  if (share >= shares) return fail("a path of no share");
  entry.share = static_cast<std::uint32_t>(share);
  WEIR_TRY(const std::uint64_t mode, number_in(json, "mode", 07777));
  entry.change.mode = static_cast<std::uint32_t>(mode);
  WEIR_TRY(entry.change.bytes, number_in(json, "bytes", kMostBytes));
  WEIR_TRY(entry.offset, number_in(json, "offset", kMostBytes));
  WEIR_TRY(entry.change.link_target, text_in(json, "target"));
  if (entry.change.link_target.contains('\0')) return fail("a link that leads to no name");
  WEIR_TRY(entry.before, text_in(json, "before"));
  WEIR_TRY(const std::uint64_t meanwhile, number_in(json, "meanwhile", 1));
  entry.changed_meanwhile = meanwhile != 0;
  WEIR_TRY(entry.not_kept, text_in(json, "not_kept"));
  return entry;
}

}  // namespace

bool is_plain_path(std::string_view path) {
  if (path.empty() || path.contains('\0')) return false;
  while (true) {
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    if (part.size() == path.size()) return true;
    path.remove_prefix(part.size() + 1);
  }
}

std::string manifest_text(const Manifest& manifest) {
  std::string text = head_line(manifest);
  for (const KeptEntry& entry : manifest.entries) text += entry_line(entry);
  return text;
}

Result<Manifest> parse_manifest(std::string_view text) {
  Manifest manifest;
  std::uint64_t announced = 0;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return fail("line " + std::to_string(number) + " is not whole");
    const std::string where = "line " + std::to_string(number);
    if (number == 1) {
      WEIR_TRY(announced, in_context(read_head(text.substr(0, end), manifest), where));
    } else {
      WEIR_TRY(KeptEntry entry, in_context(read_entry(text.substr(0, end), manifest.shares.size()), where));
      manifest.entries.push_back(std::move(entry));
    }
    text.remove_prefix(end + 1);
  }
  if (manifest.shares.empty() || manifest.entries.size() != announced) return fail("lines are missing");
  const auto place = [](const KeptEntry& entry) { return std::pair(entry.share, std::string_view(entry.change.path)); };
  if (std::ranges::adjacent_find(manifest.entries, std::ranges::greater_equal(), place) != manifest.entries.end())
    return fail("paths are not in order");
  return manifest;
}

}  // namespace weir::changes
