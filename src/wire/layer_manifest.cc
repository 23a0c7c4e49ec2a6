#include "wire/layer_manifest.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <span>
#include <unordered_set>

#include "base/failure_line.h"
#include "wire/tar.h"

namespace weir::wire {
namespace {

using Type = LayerEntry::Type;

constexpr std::array<std::string_view, 5> kOfRunningSandbox = {"dev", "proc", "sys", "run", ".weir-layers"};
constexpr std::string_view kMark = ".wh.";  // what marks whiteouts in archives; no name of a layer

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c > ' ' && c < '\x7f' && c != '%') {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', "0123456789ABCDEF"[byte >> 4], "0123456789ABCDEF"[byte & 15]};
  }
  return out;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (text.front() != '%') {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    unsigned byte = 0;
    if (text.size() < 3 || std::from_chars(text.data() + 1, text.data() + 3, byte, 16).ptr != text.data() + 3)
      return std::nullopt;
    out += static_cast<char>(byte);
    text.remove_prefix(3);
  }
  return out;
}

std::string octal(std::uint32_t mode) {
  std::array<char, 16> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), mode, 8).ptr};
}

template <class Number>
bool read(std::string_view text, Number& into, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into, base);
  return error == std::errc() && end == text.data() + text.size();
}

bool read_text(std::string_view text, std::string& into) {
  auto plain = unescaped(text);
  if (!plain) return false;
  into = std::move(*plain);
  return true;
}

// How many fields a line of the type has; 0: there is no such type.
std::size_t fields_of(char type) {
  switch (type) {
    case 'd':
    case 'o':
    case 'l':
      return 5;
    case 'f':
      return 8;
    case 'h':
      return 3;
    case 'w':
      return 2;
    default:
      return 0;
  }
}

bool read_fields(std::span<const std::string_view> field, LayerEntry& entry) {
  switch (entry.type) {
    case Type::folder:
    case Type::opaque_folder:
      return read(field[1], entry.mode, 8) && read(field[2], entry.uid) && read(field[3], entry.gid) &&
             read_text(field[4], entry.path) && entry.mode <= 03777;
    case Type::file:
      entry.digest = field[6];
      return read(field[1], entry.mode, 8) && read(field[2], entry.uid) && read(field[3], entry.gid) &&
             read(field[4], entry.mtime) && read(field[5], entry.size) && read_text(field[7], entry.path) &&
             entry.mode <= 01777 && entry.mtime >= 0 && is_layer_digest(entry.digest);
    case Type::hard_link:
      return read_text(field[1], entry.path) && read_text(field[2], entry.link);
    case Type::symbolic_link:
      return read(field[1], entry.uid) && read(field[2], entry.gid) && read_text(field[3], entry.path) &&
             read_text(field[4], entry.link) && !entry.link.empty() && entry.link.size() <= kMaxTarPath &&
             entry.link.find('\0') == std::string::npos;
    case Type::whiteout:
      return read_text(field[1], entry.path);
  }
  return false;
}

std::optional<LayerEntry> entry_of(std::string_view line) {
  std::array<std::string_view, 8> field;
  std::size_t count = 0;
  for (std::string_view rest = line;; ++count) {
    if (count == field.size()) return std::nullopt;
    const std::size_t blank = rest.find(' ');
    field.at(count) = rest.substr(0, blank);
    if (blank == std::string_view::npos) break;
    rest.remove_prefix(blank + 1);
  }
  if (field[0].size() != 1 || fields_of(field[0].front()) != count + 1) return std::nullopt;
  LayerEntry entry;
  entry.type = static_cast<Type>(field[0].front());
  if (!read_fields(field, entry) || entry.uid > kLargestLayerId || entry.gid > kLargestLayerId) return std::nullopt;
  // What reads the same is written the same: one spelling.
  if (layer_line(entry) != std::string(line) + "\n") return std::nullopt;
  return entry;
}

bool is_plain(const std::string& path) {
  const auto canonical = canonical_tar_path(path);
  if (!canonical || *canonical != path || path.empty()) return false;
  for (std::string_view rest = path; !rest.empty();) {
    if (rest.starts_with(kMark)) return false;
    const std::size_t slash = rest.find('/');
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
  }
  return !is_of_running_sandbox(path);
}

// What of a layer came before an entry.
class Before {
 public:
  // Nothing: it may follow.
  const char* objection(const LayerEntry& entry) {
    if (!is_plain(entry.path)) return "a path that no layer has";
    if (!last_.empty() && !comes_before(last_, entry.path)) return "out of order, or twice";
    const std::size_t slash = entry.path.rfind('/');
    if (slash != std::string::npos && !folders_.contains(entry.path.substr(0, slash)))
      return "its folder does not come before it";
    if (entry.type == Type::hard_link && !files_.contains(entry.link)) return "a second name of no file before it";
    if (entry.is_folder()) folders_.insert(entry.path);
    if (entry.type == Type::file) files_.insert(entry.path);
    last_ = entry.path;
    return nullptr;
  }

 private:
  std::unordered_set<std::string> folders_;
  std::unordered_set<std::string> files_;
  std::string last_;
};

}  // namespace

const std::string_view kLayerManifestHead = "weir-layer 1\n";

bool is_layer_digest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_of_running_sandbox(std::string_view path) {
  return std::ranges::find(kOfRunningSandbox, path.substr(0, path.find('/'))) != kOfRunningSandbox.end();
}

bool comes_before(std::string_view path, std::string_view other) {
  // The end of a part is before every byte that a part can hold.
  const auto rank = [](char c) { return c == '/' ? 0 : 1 + static_cast<int>(static_cast<unsigned char>(c)); };
  return std::ranges::lexicographical_compare(path, other, {}, rank, rank);
}

std::string layer_line(const LayerEntry& entry) {
  const std::string owner = std::to_string(entry.uid) + " " + std::to_string(entry.gid) + " ";
  const std::string type = std::string(1, static_cast<char>(entry.type)) + " ";
  switch (entry.type) {
    case Type::folder:
    case Type::opaque_folder:
      return type + octal(entry.mode) + " " + owner + escaped(entry.path) + "\n";
    case Type::file:
      return type + octal(entry.mode) + " " + owner + std::to_string(entry.mtime) + " " + std::to_string(entry.size) +
             " " + entry.digest + " " + escaped(entry.path) + "\n";
    case Type::hard_link:
      return type + escaped(entry.path) + " " + escaped(entry.link) + "\n";
    case Type::symbolic_link:
      return type + owner + escaped(entry.path) + " " + escaped(entry.link) + "\n";
    case Type::whiteout:
      return type + escaped(entry.path) + "\n";
  }
  return "";
}

Result<std::vector<LayerEntry>> parse_layer_manifest(std::string_view text) {
  const auto damaged = [](std::size_t line, const char* why) {
    return fail("line " + std::to_string(line) + " of the layer's manifest: " + why);
  };
  if (text.size() > kMaxLayerManifest) return fail("the layer's manifest is too large");
  if (!text.starts_with(kLayerManifestHead)) return damaged(1, "not a manifest of a layer");
  text.remove_prefix(kLayerManifestHead.size());
  std::vector<LayerEntry> entries;
  Before before;
  for (std::size_t number = 2; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return damaged(number, "it does not end");
    if (entries.size() == kMaxLayerEntries) return damaged(number, "too many entries");
    auto entry = entry_of(text.substr(0, end));
    if (!entry) return damaged(number, "it says nothing that a layer can hold");
    if (const char* objection = before.objection(*entry)) return damaged(number, objection);
    entries.push_back(std::move(*entry));
    text.remove_prefix(end + 1);
  }
  return entries;
}

}  // namespace weir::wire
