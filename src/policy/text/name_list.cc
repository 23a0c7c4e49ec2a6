#include "policy/text/name_list.h"

#include <array>

#include "base/failure_line.h"
#include "policy/text/list_line.h"

namespace weir::policy {

namespace {

// The longest line that means something has a name, an address and a comment.
constexpr std::size_t kMaxLine = 4096;
constexpr std::size_t kMaxShown = 40;

// What hosts files say about the machine itself; not denials, and in every one of them.
constexpr auto kHostsOwn = std::to_array<std::string_view>(
    {"localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet",
     "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts", "0.0.0.0"});
// Addresses that lead nowhere. A name with any other address is a mapping, not a denial.
constexpr auto kNowhere =
    std::to_array<std::string_view>({"0.0.0.0", "127.0.0.1", "::", "::1", "::0", "0:0:0:0:0:0:0:0"});

struct FormatWord {
  ListFormat format;
  std::string_view word;
};
constexpr auto kFormats = std::to_array<FormatWord>({{ListFormat::names, "names"},
                                                     {ListFormat::hosts, "hosts"},
                                                     {ListFormat::adguard, "adguard"},
                                                     {ListFormat::rpz, "rpz"}});

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

std::string_view without_hash_comment(std::string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '#' && (i == 0 || is_blank(line[i - 1]))) return line.substr(0, i);
  }
  return line;
}

LineResult read_names_line(std::string_view line, ListedNames& names) {
  line = trimmed(without_hash_comment(line));
  if (line.empty()) return {};
  const std::string_view word = next_word(line);
  if (!line.empty()) return std::unexpected("more than one word");
  return add_written_name(names, word);
}

LineResult read_hosts_line(std::string_view line, ListedNames& names) {
  line = trimmed(without_hash_comment(line));
  if (line.empty()) return {};
  const std::string_view address = next_word(line);
  bool some = false;
  for (std::string_view name = next_word(line); !name.empty(); name = next_word(line)) {
    some = true;
    if (is_one_of(name, kHostsOwn)) continue;
    if (!is_one_of(address, kNowhere)) return std::unexpected("the address is none of 0.0.0.0, 127.0.0.1, :: and ::1");
    if (LineResult added = add_listed(names, name, NameScope::exact); !added) return added;
  }
  if (!some) return std::unexpected("no name behind the address");
  return {};
}

LineResult read_adguard_pattern(std::string_view line, ListedNames& names) {
  line.remove_prefix(2);
  // Without exceptions there is nothing that it could be more important than.
  constexpr std::string_view kImportant = "$important";
  if (line.ends_with(kImportant)) line.remove_suffix(kImportant.size());
  if (line.find('$') != std::string_view::npos) return std::unexpected("modifiers are not supported");
  if (line.ends_with("^|")) line.remove_suffix(1);
  if (!line.ends_with('^')) return std::unexpected("a pattern must end with ^");
  line.remove_suffix(1);
  if (line.starts_with("*.")) return add_listed(names, line.substr(2), NameScope::below);
  return add_listed(names, line, NameScope::at_or_below);
}

LineResult read_adguard_line(std::string_view line, ListedNames& names) {
  line = trimmed(line);
  if (line.empty() || line.front() == '!' || line.starts_with("# ") || (line.front() == '[' && line.back() == ']'))
    return {};
  const bool cosmetic = line.find("##") != std::string_view::npos || line.find("#@#") != std::string_view::npos ||
                        line.find("#?#") != std::string_view::npos;
  if (line.starts_with("@@")) return std::unexpected("exceptions are not supported");
  if (line.starts_with("||")) return read_adguard_pattern(line, names);
  if (cosmetic) return std::unexpected("rules about the content of pages are not supported");
  if (line.front() == '/') return std::unexpected("regular expressions are not supported");
  const bool one_word = std::ranges::none_of(trimmed(without_hash_comment(line)), is_blank);
  return one_word ? read_names_line(line, names) : read_hosts_line(line, names);
}

bool is_address(std::string_view word) {
  return net::IpAddress::parse(word).has_value();
}

// By the first line that says something.
ListFormat format_of(std::string_view line) {
  if (line.starts_with("||") || line.starts_with("@@") || line.front() == '!' || line.front() == '[') {
    return ListFormat::adguard;
  }
  if (line.front() == '$' || line.front() == ';') return ListFormat::rpz;
  std::string_view rest = without_hash_comment(line);
  const std::string_view first = next_word(rest);
  const bool several = !trimmed(rest).empty();
  if (several) return is_address(first) || is_one_of(first, kNowhere) ? ListFormat::hosts : ListFormat::rpz;
  return ListFormat::names;
}

class ListReader {
 public:
  ListReader(ListFormat format, ListedNames& names) : format_(format), names_(names), rpz_(names) {}

  ListReport run(std::string_view text) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (line.ends_with('\r')) line.remove_suffix(1);
      ++report_.lines;
      if (const LineResult taken = take(line); !taken) note_invalid(line, taken.error());
      if (names_.size() > ListedNames::kMaxNames) {
        report_.too_many = true;
        break;
      }
    }
    if (const LineResult ended = rpz_.finish(); !ended) note_invalid("", ended.error());
    report_.format = format_;
    return std::move(report_);
  }

 private:
  LineResult take(std::string_view line) {
    if (line.size() > kMaxLine) return std::unexpected("longer than " + std::to_string(kMaxLine) + " bytes");
    if (format_ == ListFormat::automatic) {
      const std::string_view said = trimmed(line);
      if (said.empty() || said.front() == '#') return {};
      format_ = format_of(said);
    }
    switch (format_) {
      case ListFormat::hosts:
        return read_hosts_line(line, names_);
      case ListFormat::adguard:
        return read_adguard_line(line, names_);
      case ListFormat::rpz:
        return rpz_.take(line);
      case ListFormat::automatic:
      case ListFormat::names:
        break;
    }
    return read_names_line(line, names_);
  }

  void note_invalid(std::string_view line, const std::string& why) {
    ++report_.invalid;
    if (report_.first_invalid.size() >= kMaxShownLines) return;
    std::string shown = printable(std::string(line.substr(0, kMaxShown)));
    if (line.size() > kMaxShown) shown += "...";
    report_.first_invalid.push_back({.number = report_.lines, .why = "'" + shown + "': " + why});
  }

  ListFormat format_;
  ListedNames& names_;
  RpzReader rpz_;
  ListReport report_;
};

}  // namespace

Result<ListSpec> parse_list_spec(std::string_view text) {
  ListSpec spec;
  for (const FormatWord& each : kFormats) {
    if (!text.starts_with(each.word) || text.substr(each.word.size(), 1) != ":") continue;
    spec.format = each.format;
    text.remove_prefix(each.word.size() + 1);
    break;
  }
  if (text.empty() || text.find('\0') != std::string_view::npos) {
    return std::unexpected(
        Error("a list needs the name of a file").with_remedy("write FILE, or names:, hosts:, adguard: or rpz:FILE"));
  }
  spec.path = text;
  return spec;
}

ListReport read_list(std::string_view text, ListFormat format, ListedNames& names) {
  return ListReader(format, names).run(text);
}

// Short enough for one line of a failure (kMaxFailureLine): the first in full, of the others the numbers.
std::string invalid_text(const ListReport& report) {
  std::string text = std::to_string(report.invalid) + " of " + std::to_string(report.lines) + " lines deny no name: ";
  for (std::size_t i = 0; i < report.first_invalid.size(); ++i) {
    const InvalidLine& each = report.first_invalid[i];
    if (i == 0) text += "line " + std::to_string(each.number) + ", " + each.why;
    if (i > 0) text += (i == 1 ? "; lines " : ", ") + std::to_string(each.number);
  }
  const std::size_t more = report.invalid - report.first_invalid.size();
  return more == 0 ? text : text + " and " + std::to_string(more) + " more";
}

}  // namespace weir::policy
