#include "policy/text/target.h"

#include <algorithm>
#include <array>

#include "base/failure_line.h"
#include "base/spelling.h"
#include "policy/compiled/own_names.h"
#include "policy/text/broad.h"
#include "policy/text/sets.h"

namespace weir::policy {

namespace {

// Longer than any valid target: 253 characters of name, or more in Unicode, and a port list.
constexpr std::size_t kMaxTarget = 2048;
// Ranges of one target. A longer list is a mistake or belongs into several targets.
constexpr std::size_t kMaxRanges = 64;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_port_piece(std::string_view piece) {
  return !piece.empty() && std::ranges::all_of(piece, [](char c) { return is_digit(c) || c == '-'; });
}

std::string shown(std::string_view text) {
  constexpr std::size_t kShown = 80;
  return quoted(text, kShown);
}

// Parses one target; `at(piece)` is the column of a piece of it.
class TargetParser {
 public:
  TargetParser(std::string_view text, const TargetRules& rules) : text_(text), rules_(rules) {}

  TargetResult<ParsedTarget> run();

 private:
  using Failure = std::unexpected<TargetError>;
  enum class Protocols : std::uint8_t { unsaid, said };

  Failure fail_at(std::size_t offset, std::string what, std::string remedy = {}) const {
    return Failure(TargetError{.column = offset + 1, .what = std::move(what), .remedy = std::move(remedy)});
  }
  std::size_t offset_of(std::string_view piece) const { return static_cast<std::size_t>(piece.data() - text_.data()); }

  TargetResult<std::string_view> parse_protocol(std::string_view rest);
  TargetResult<std::vector<net::PortRange>> parse_ports(std::string_view ports) const;
  TargetResult<net::PortRange> parse_range(std::string_view piece) const;
  TargetResult<ParsedTarget> parse_class_or_set(std::string_view word, std::vector<net::PortRange> ports) const;
  TargetResult<ParsedTarget> parse_bracketed(std::string_view rest) const;
  TargetResult<ParsedTarget> parse_address(std::string_view word, std::vector<net::PortRange> ports) const;
  TargetResult<ParsedTarget> parse_name(std::string_view word, std::vector<net::PortRange> ports) const;
  TargetResult<ParsedTarget> finish_name(std::string_view word, Target target) const;
  TargetResult<ParsedTarget> finish(Target target) const;
  TargetResult<void> check_characters() const;
  TargetResult<void> check_class(std::string_view word, AddressClass address_class) const;
  TargetResult<void> check_name_ports(std::string_view word, const Target& target) const;
  TargetResult<void> check_breadth(std::string_view word, Target& target) const;

  std::string_view text_;
  const TargetRules& rules_;
  ProtocolSet protocols_ = ProtocolSet::all();
  Protocols said_ = Protocols::unsaid;
};

TargetResult<void> TargetParser::check_characters() const {
  if (text_.empty()) return fail_at(0, "a target is missing", "write a host name, an address or a class: example.com");
  if (text_.size() > kMaxTarget) return fail_at(kMaxTarget, "the target is too long");
  for (std::size_t i = 0; i < text_.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text_[i]);
    if (byte <= 0x20 || byte == 0x7f) return fail_at(i, "spaces and control characters cannot stand in a target");
    if (byte == '%') return fail_at(i, "'%' cannot stand in a target: neither zones nor percent-encoding");
    if (byte == '\\' || byte == '?' || byte == '#') {
      return fail_at(i, std::string("'") + text_[i] + "' cannot stand in a target");
    }
  }
  return {};
}

TargetResult<std::string_view> TargetParser::parse_protocol(std::string_view rest) {
  const std::size_t mark = rest.find("://");
  if (mark == std::string_view::npos) return rest;
  const std::string_view word = rest.substr(0, mark);
  constexpr std::array<net::Protocol, 3> kProtocols = {net::Protocol::tcp, net::Protocol::udp, net::Protocol::icmp};
  const auto* const found = std::ranges::find(kProtocols, word, [](net::Protocol each) { return name_of(each); });
  rest.remove_prefix(mark + 3);
  if (found != kProtocols.end()) {
    protocols_ = ProtocolSet::only(*found);
    said_ = Protocols::said;
    return rest;
  }
  const std::string host(rest.substr(0, rest.find_first_of("/:@")));
  if (word == "https") return fail_at(0, "a target is no URL", "write " + host + ":443");
  if (word == "http") return fail_at(0, "a target is no URL", "write " + host + ":80");
  constexpr std::array<std::string_view, 3> kWords = {"tcp", "udp", "icmp"};
  const std::string_view near = nearest_spelling(word, kWords);
  return fail_at(0, shown(word) + " is no protocol: tcp, udp or icmp",
                 near.empty() ? "" : "write " + std::string(near) + "://" + std::string(rest));
}

TargetResult<net::PortRange> TargetParser::parse_range(std::string_view piece) const {
  const std::size_t dash = piece.find('-');
  const auto first = net::parse_port(piece.substr(0, dash));
  if (!first) return fail_at(offset_of(piece), first.error().what());
  if (dash == std::string_view::npos) return net::PortRange{*first, *first};
  const auto last = net::parse_port(piece.substr(dash + 1));
  if (!last) return fail_at(offset_of(piece) + dash + 1, last.error().what());
  if (*last < *first) {
    return fail_at(offset_of(piece), "the range " + shown(piece) + " runs backwards",
                   "write " + std::to_string(*last) + "-" + std::to_string(*first));
  }
  return net::PortRange{*first, *last};
}

TargetResult<std::vector<net::PortRange>> TargetParser::parse_ports(std::string_view ports) const {
  if (said_ == Protocols::said && protocols_.has(net::Protocol::icmp)) {
    return fail_at(offset_of(ports), "ICMP has no ports", "leave the ports out");
  }
  std::vector<net::PortRange> ranges;
  for (;;) {
    const std::size_t comma = ports.find(',');
    auto range = parse_range(ports.substr(0, comma));
    if (!range) return Failure(std::move(range).error());
    ranges.push_back(*range);
    if (ranges.size() > kMaxRanges) return fail_at(offset_of(ports), "more than 64 port ranges in one target");
    if (comma == std::string_view::npos) break;
    ports.remove_prefix(comma + 1);
  }
  std::ranges::sort(ranges);
  return ranges;
}

TargetResult<ParsedTarget> TargetParser::finish(Target target) const {
  target.protocols = protocols_;
  return ParsedTarget{.text = std::string(text_), .targets = {std::move(target)}, .set = {}};
}

TargetResult<void> TargetParser::check_class(std::string_view word, AddressClass address_class) const {
  const bool hard = address_class == AddressClass::metadata || address_class == AddressClass::multicast ||
                    address_class == AddressClass::sandboxes;
  if (hard && rules_.action == Action::allow) {
    return fail_at(offset_of(word), std::string(word) + " belongs to the hard floor and cannot be allowed as a class",
                   "name the one address and insist on it: --insist floor=ADDRESS --allow ADDRESS");
  }
  return {};
}

TargetResult<ParsedTarget> TargetParser::parse_class_or_set(std::string_view word,
                                                            std::vector<net::PortRange> ports) const {
  if (const auto address_class = address_class_of(word)) {
    if (auto checked = check_class(word, *address_class); !checked) return Failure(std::move(checked).error());
    Target target;
    target.kind = Target::Kind::address_class;
    target.address_class = *address_class;
    target.ports = std::move(ports);
    return finish(std::move(target));
  }
  if (const HostSet* const set = find_host_set(word.substr(1))) {
    ParsedTarget parsed{.text = std::string(text_), .targets = {}, .set = set->name};
    for (const std::string_view host : set->hosts) {
      auto member = parse_target(host, {.action = rules_.action, .insisted_broad = rules_.insisted_broad});
      if (!member) return fail_at(offset_of(word), "the set " + shown(word) + " is damaged at " + shown(host));
      for (Target& target : member->targets) {
        if (!ports.empty()) target.ports = ports;
        if (said_ == Protocols::said) target.protocols = protocols_;
        parsed.targets.push_back(std::move(target));
      }
    }
    return parsed;
  }
  std::vector<std::string> words;
  for (std::uint8_t i = 0; i < kAddressClassCount; ++i) words.emplace_back(name_of(static_cast<AddressClass>(i)));
  for (const HostSet& set : host_sets()) words.push_back("@" + std::string(set.name));
  const std::vector<std::string_view> views(words.begin(), words.end());
  const std::string_view near = nearest_spelling(word, views);
  return fail_at(offset_of(word), shown(word) + " is neither a class nor a set",
                 near.empty() ? "`weir policy sets` lists them" : "write " + std::string(near));
}

TargetResult<ParsedTarget> TargetParser::parse_address(std::string_view word, std::vector<net::PortRange> ports) const {
  const auto cidr = net::Cidr::parse(word);
  if (!cidr) return fail_at(offset_of(word), cidr.error().what(), cidr.error().remedy());
  Target target;
  target.kind = Target::Kind::cidr;
  target.cidr = *cidr;
  target.ports = std::move(ports);
  return finish(std::move(target));
}

// "[2001:db8::1]:443", "[fd00::/8]:443"
TargetResult<ParsedTarget> TargetParser::parse_bracketed(std::string_view rest) const {
  const std::size_t close = rest.find(']');
  if (close == std::string_view::npos) return fail_at(offset_of(rest), "the bracket is not closed");
  const std::string_view inner = rest.substr(1, close - 1);
  if (inner.find(':') == std::string_view::npos) {
    return fail_at(offset_of(inner), "only an IPv6 address stands in brackets", "write " + std::string(inner));
  }
  std::string_view after = rest.substr(close + 1);
  if (after.empty()) return parse_address(inner, {});
  if (after.front() != ':') {
    return fail_at(offset_of(after), "after the bracket only :PORTS may follow", "write [2001:db8::1]:443");
  }
  after.remove_prefix(1);
  auto ports = parse_ports(after);
  if (!ports) return Failure(std::move(ports).error());
  return parse_address(inner, std::move(*ports));
}

// "*.x" is wider than it looks where many owners have names below x.
TargetResult<void> TargetParser::check_breadth(std::string_view word, Target& target) const {
  if (target.scope == NameScope::exact) return {};
  const SuffixKind kind = target.name.empty() ? SuffixKind::registry : suffix_kind(target.name);
  if (kind == SuffixKind::ordinary) return {};
  target.breadth = Breadth::broad;
  if (rules_.action == Action::deny || rules_.broad == BroadTargets::accepted) return {};
  const std::string canonical = canonical_destination(target);
  if (std::ranges::find(rules_.insisted_broad, canonical) != rules_.insisted_broad.end()) return {};
  const std::string who = kind == SuffixKind::platform ? "anyone can publish below " : "anyone can register below ";
  const std::string where = target.name.empty() ? "the root" : "'" + target.name + "'";
  return fail_at(offset_of(word), shown(word) + " is too broad: " + who + where,
                 "name the hosts, or insist: --insist broad=" + canonical);
}

TargetResult<void> TargetParser::check_name_ports(std::string_view word, const Target& target) const {
  if (target.ports.empty() && said_ == Protocols::said && protocols_.has(net::Protocol::udp)) {
    return fail_at(offset_of(word), "UDP to a name needs a port", "write udp://" + std::string(word) + ":PORT");
  }
  if (!is_own_name(target.name) || rules_.action == Action::deny) return {};
  if (target.name != kHostService || target.scope != NameScope::exact) {
    return fail_at(offset_of(word), "names below weir.internal are weir's own; only host.weir.internal can be allowed",
                   "write host.weir.internal:PORT");
  }
  if (target.ports.empty()) {
    return fail_at(offset_of(word), "the services of this machine are allowed port by port",
                   "write host.weir.internal:PORT");
  }
  return {};
}

TargetResult<ParsedTarget> TargetParser::finish_name(std::string_view word, Target target) const {
  if (auto checked = check_name_ports(word, target); !checked) return Failure(std::move(checked).error());
  if (auto checked = check_breadth(word, target); !checked) return Failure(std::move(checked).error());
  auto parsed = finish(std::move(target));
  if (said_ == Protocols::unsaid && rules_.action == Action::allow) {
    parsed->targets.front().protocols = ProtocolSet::only(net::Protocol::tcp);
  }
  return parsed;
}

TargetResult<ParsedTarget> TargetParser::parse_name(std::string_view word, std::vector<net::PortRange> ports) const {
  Target target;
  target.kind = Target::Kind::name;
  target.ports = std::move(ports);
  std::string_view name = word;
  if (word == "*") {
    target.scope = NameScope::below;
    return finish_name(word, std::move(target));
  }
  if (name.starts_with("*.")) {
    target.scope = NameScope::below;
    name.remove_prefix(2);
  } else if (name.starts_with('.')) {
    target.scope = NameScope::at_or_below;
    name.remove_prefix(1);
  }
  if (const std::size_t star = name.find('*'); star != std::string_view::npos) {
    return fail_at(offset_of(name) + star, "'*' stands only for whole labels at the front",
                   "write *.example.com for every name below example.com");
  }
  const auto canonical = parse_host_name(name);
  if (!canonical) return fail_at(offset_of(name), canonical.error().what(), canonical.error().remedy());
  // Lists would take it for the ports of the target before it.
  if (is_port_piece(canonical->text())) return fail_at(offset_of(name), "a number alone is never a destination");
  target.name = canonical->text();
  return finish_name(word, std::move(target));
}

TargetResult<ParsedTarget> TargetParser::run() {
  if (auto checked = check_characters(); !checked) return Failure(std::move(checked).error());
  auto after_protocol = parse_protocol(text_);
  if (!after_protocol) return Failure(std::move(after_protocol).error());
  std::string_view rest = *after_protocol;
  if (rest.empty()) return fail_at(text_.size(), "a destination is missing after the protocol");
  if (rest.front() == '[') return parse_bracketed(rest);
  if (const std::size_t at = rest.find('@', 1); at != std::string_view::npos) {
    return fail_at(offset_of(rest) + at, "a target has no user part", "write " + std::string(rest.substr(at + 1)));
  }
  // With a second colon before any slash it is an IPv6 address, and all of it.
  const std::size_t slash = rest.find('/');
  const std::string_view head = rest.substr(0, slash);
  const bool v6 = std::ranges::count(head, ':') >= 2;
  const std::size_t colon = v6 ? (slash == std::string_view::npos ? slash : rest.find(':', slash)) : rest.find(':');
  const std::string_view word = rest.substr(0, colon);
  std::vector<net::PortRange> ports;
  if (colon != std::string_view::npos) {
    auto parsed = parse_ports(rest.substr(colon + 1));
    if (!parsed) return Failure(std::move(parsed).error());
    ports = std::move(*parsed);
  }
  if (word.empty()) return fail_at(offset_of(rest), "a destination is missing before the ports");
  if (word.front() == '@') return parse_class_or_set(word, std::move(ports));
  if (v6 || net::IpAddress::parse(word.substr(0, word.find('/')))) return parse_address(word, std::move(ports));
  if (slash != std::string_view::npos && slash < word.size()) {
    return fail_at(offset_of(rest) + slash, "a target names a host, not a path",
                   "write " + std::string(word.substr(0, slash)));
  }
  return parse_name(word, std::move(ports));
}

std::string ports_text(const std::vector<net::PortRange>& ports) {
  std::string text;
  for (const net::PortRange& range : ports) {
    text += text.empty() ? ":" : ",";
    text += std::to_string(range.first);
    if (range.last != range.first) text += "-" + std::to_string(range.last);
  }
  return text;
}

}  // namespace

Error TargetError::about(std::string_view text) const {
  return Error(shown(text) + ", column " + std::to_string(column) + ": " + what).with_remedy(remedy);
}

TargetResult<ParsedTarget> parse_target(std::string_view text, const TargetRules& rules) {
  return TargetParser(text, rules).run();
}

TargetResult<std::vector<std::string_view>> split_targets(std::string_view text) {
  std::vector<std::string_view> targets;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t comma = std::min(text.find(',', start), text.size());
    const std::string_view piece = text.substr(start, comma - start);
    if (is_port_piece(piece) && !targets.empty()) {
      std::string_view& last = targets.back();
      last = std::string_view(last.data(), last.size() + 1 + piece.size());
    } else {
      targets.push_back(piece);
    }
    start = comma + 1;
  }
  for (const std::string_view target : targets) {
    if (!target.empty()) continue;
    const auto offset = static_cast<std::size_t>(target.data() - text.data());
    return std::unexpected(TargetError{.column = offset + 1,
                                       .what = text.empty() ? "a target is missing" : "a target is missing at a comma",
                                       .remedy = "write a host name, an address or a class: example.com"});
  }
  return targets;
}

std::string canonical_destination(const Target& target) {
  switch (target.kind) {
    case Target::Kind::cidr:
      return target.cidr.is_single() ? target.cidr.base().text() : target.cidr.text();
    case Target::Kind::address_class:
      return std::string(name_of(target.address_class));
    case Target::Kind::name:
      break;
  }
  if (target.name.empty()) return "*";
  switch (target.scope) {
    case NameScope::exact:
      return target.name;
    case NameScope::below:
      return "*." + target.name;
    case NameScope::at_or_below:
      return "." + target.name;
  }
  return target.name;
}

std::string canonical_text(const Target& target) {
  std::string text;
  for (const net::Protocol each : {net::Protocol::tcp, net::Protocol::udp, net::Protocol::icmp}) {
    const bool usual_tcp = target.kind == Target::Kind::name && each == net::Protocol::tcp;
    if (target.protocols == ProtocolSet::only(each) && !usual_tcp) text = std::string(net::name_of(each)) + "://";
  }
  const std::string destination = canonical_destination(target);
  const bool brackets = target.kind == Target::Kind::cidr && !target.cidr.is_v4() && !target.ports.empty();
  text += brackets ? "[" + destination + "]" : destination;
  return text + ports_text(target.ports);
}

}  // namespace weir::policy
