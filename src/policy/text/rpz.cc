// Response policy zones as denials: only "name CNAME ." and its like; what rewrites answers is no denial.
#include <array>

#include "policy/text/list_line.h"

namespace weir::policy {

namespace {

std::string lower(std::string_view text) {
  std::string folded(text);
  for (char& c : folded) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return folded;
}

// "300", "1h30m"
bool is_ttl(std::string_view word) {
  return !word.empty() && word.front() >= '0' && word.front() <= '9';
}

// Up to a ';' that is not inside of quotes.
std::string_view without_comment(std::string_view line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (line[i] == ';' && !quoted) return line.substr(0, i);
  }
  return line;
}

std::unexpected<std::string> no_denial(std::string why) {
  return std::unexpected(std::move(why));
}

}  // namespace

LineResult RpzReader::take(std::string_view line) {
  line = without_comment(line);
  if (in_soa_) return take_soa(line);
  if (trimmed(line).empty()) return {};
  if (line.front() == '$') return take_directive(line);
  if (!is_blank(line.front())) owner_ = lower(next_word(line));
  std::string type = lower(next_word(line));
  while (is_ttl(type) || type == "in") type = lower(next_word(line));
  return take_record(type, line);
}

LineResult RpzReader::finish() const {
  if (in_soa_) return no_denial("the SOA record is still open at the end of the file");
  return {};
}

LineResult RpzReader::take_directive(std::string_view line) {
  const std::string word = lower(next_word(line));
  if (word == "$ttl") return {};
  if (word != "$origin") return no_denial("only $ORIGIN and $TTL are known");
  const std::string_view origin = next_word(line);
  if (origin.empty()) return no_denial("$ORIGIN without a name");
  origin_ = absolute(lower(origin));
  return {};
}

std::string RpzReader::absolute(std::string_view owner) const {
  if (owner == "@") return origin_;
  if (owner.ends_with('.')) return std::string(owner.substr(0, owner.size() - 1));
  return std::string(owner) + (origin_.empty() ? "" : ".") + origin_;
}

LineResult RpzReader::take_record(std::string_view type, std::string_view rest) {
  if (type == "soa") return begin_soa(rest);
  if (type == "ns" && absolute(owner_) == apex_ && rest.find('(') == std::string_view::npos) return {};
  if (type != "cname") return no_denial("only CNAME records deny");
  const std::string target = lower(next_word(rest));
  if (!trimmed(rest).empty()) return no_denial("more than one target");
  // NXDOMAIN, NODATA and DROP: weir refuses in its own way.
  if (target == "." || target == "*." || target == "rpz-drop.") return deny_owner();
  if (target == "rpz-passthru.") return no_denial("exceptions are not supported");
  return no_denial("only CNAME . and CNAME *. deny");
}

// The SOA record alone names the zone: names may also be relative to an $ORIGIN far above it.
LineResult RpzReader::begin_soa(std::string_view fields) {
  if (owner_.empty()) return no_denial("a record without an owner");
  const std::string apex = absolute(owner_);
  // Transferred zones end with the record that they begin with.
  if (has_soa_ && apex != apex_) return no_denial("a second SOA record");
  apex_ = apex;
  has_soa_ = true;
  soa_fields_ = 0;
  return take_soa(fields);
}

// The one record that may have several lines. What is none of its fields may be a denial behind a lost parenthesis.
LineResult RpzReader::take_soa(std::string_view line) {
  constexpr unsigned kNames = 2;
  constexpr unsigned kFields = 7;
  while (!line.empty()) {
    const std::string_view word = line.substr(0, line.find_first_of(" \t()"));
    if (word.empty()) {
      if (!is_blank(line.front())) in_soa_ = line.front() == '(';
      line.remove_prefix(1);
      continue;
    }
    line.remove_prefix(word.size());
    if (soa_fields_ >= kNames && (soa_fields_ >= kFields || !is_ttl(word))) {
      in_soa_ = false;
      return no_denial("not a field of the SOA record, which must end before it");
    }
    ++soa_fields_;
  }
  return {};
}

LineResult RpzReader::deny_owner() {
  constexpr auto kOtherTriggers =
      std::to_array<std::string_view>({"rpz-ip", "rpz-client-ip", "rpz-nsip", "rpz-nsdname"});
  if (owner_.empty()) return no_denial("a record without an owner");
  if (apex_.empty() && (owner_.ends_with('.') || !origin_.empty())) {
    return no_denial("the name of the zone is not known: its SOA record must come first");
  }
  std::string name = absolute(owner_);
  if (!apex_.empty()) {
    if (!name.ends_with("." + apex_)) return no_denial("not a name below the zone '" + apex_ + "'");
    name.resize(name.size() - apex_.size() - 1);
  }
  for (const std::string_view trigger : kOtherTriggers) {
    if (name.ends_with(trigger)) return no_denial("only names can be denied by a list");
  }
  if (name.starts_with("*.")) return add_listed(names_, std::string_view(name).substr(2), NameScope::below);
  return add_listed(names_, name, NameScope::exact);
}

}  // namespace weir::policy
