#include "image/description.h"

#include <array>
#include <charconv>

namespace weir::image {
namespace {

struct TextField {
  const char* key;
  std::string Description::* member;
};
struct ListField {
  const char* key;
  std::vector<std::string> Description::* member;
};
struct NumberField {
  const char* key;
  std::uint64_t Tally::* member;
};

constexpr std::array kTexts = {TextField{"name", &Description::name},     TextField{"format", &Description::format},
                               TextField{"digest", &Description::digest}, TextField{"created", &Description::created},
                               TextField{"ids", &Description::ids},       TextField{"workdir", &Description::workdir},
                               TextField{"user", &Description::user}};
constexpr std::array kLists = {ListField{"env", &Description::env}, ListField{"entrypoint", &Description::entrypoint},
                               ListField{"command", &Description::command}};
constexpr std::array kNumbers = {
    NumberField{"entries", &Tally::entries},           NumberField{"bytes", &Tally::bytes},
    NumberField{"set-id-bits", &Tally::set_id_bits},   NumberField{"file-capabilities", &Tally::file_capabilities},
    NumberField{"device-nodes", &Tally::device_nodes}, NumberField{"other-owners", &Tally::other_owners}};

void put(std::string& text, std::string_view key, std::string_view value) {
  text.append(key).push_back('\0');
  text.append(value).push_back('\0');
}

std::optional<std::string_view> take(std::string_view& text) {
  const std::size_t end = text.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view field = text.substr(0, end);
  text.remove_prefix(end + 1);
  return field;
}

bool set(Description& description, std::string_view key, std::string_view value) {
  for (const auto& [name, member] : kTexts) {
    if (key == name) return description.*member = std::string(value), true;
  }
  for (const auto& [name, member] : kLists) {
    if (key == name) return (description.*member).emplace_back(value), true;
  }
  for (const auto& [name, member] : kNumbers) {
    if (key != name) continue;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), description.tally.*member);
    return error == std::errc() && end == value.data() + value.size();
  }
  if (key != "owners" || (value != "all" && value != "one")) return false;
  description.owners = value == "all" ? Owners::all : Owners::one;
  return true;
}

std::string counted(std::uint64_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

}  // namespace

std::string encode(const Description& description) {
  std::string text;
  put(text, "owners", description.owners == Owners::all ? "all" : "one");
  for (const auto& [key, member] : kTexts) put(text, key, description.*member);
  for (const auto& [key, member] : kNumbers) put(text, key, std::to_string(description.tally.*member));
  for (const auto& [key, member] : kLists) {
    for (const std::string& item : description.*member) put(text, key, item);
  }
  return text;
}

Result<Description> decode_description(std::string_view text) {
  if (text.size() > kMaxDescription) return fail("the description of the image is too large");
  Description description;
  std::size_t fields = 0;
  while (!text.empty()) {
    const auto key = take(text);
    const auto value = take(text);
    if (!key || !value || !set(description, *key, *value)) return fail("the description of the image is damaged");
    ++fields;
  }
  if (fields < 1 + kTexts.size() + kNumbers.size()) return fail("the description of the image is incomplete");
  return description;
}

std::vector<std::string> remarks(const Description& description) {
  const Tally& tally = description.tally;
  std::vector<std::string> lines;
  if (tally.set_id_bits > 0) {
    lines.push_back(counted(tally.set_id_bits, "set-id program", "set-id programs") +
                    " (su, passwd ...) without the bit: nothing in a sandbox gains rights by running a program");
  }
  if (tally.file_capabilities > 0) {
    lines.push_back(counted(tally.file_capabilities, "file capability", "file capabilities") +
                    " left out: nothing in a sandbox gains rights by running a program");
  }
  if (tally.device_nodes > 0)
    lines.push_back(counted(tally.device_nodes, "node", "nodes") + " below /dev left out: a sandbox has weir's /dev");
  if (description.owners == Owners::one && tally.other_owners > 0) {
    lines.push_back(counted(tally.other_owners, "file", "files") + " of other users than " +
                    (description.format == "folder" ? "you" : "root") +
                    " belong to the sandbox's user, as everything in this image does: you have no range of ids (apt "
                    "install uidmap, 65536 ids in /etc/subuid and /etc/subgid, import again)");
  }
  return lines;
}

}  // namespace weir::image
