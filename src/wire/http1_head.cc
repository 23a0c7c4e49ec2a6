#include "wire/http1_head.h"

#include <algorithm>

#include "wire/http1_chars.h"

namespace weir::wire {

namespace {

using http1::equal_ignoring_case;
using http1::is_token;

constexpr std::size_t kMaxUpgrade = 64;  // a token or two

bool is_visible_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<std::uint64_t> parse_length(std::string_view text) {
  constexpr std::size_t kMaxDigits = 18;
  if (text.empty() || text.size() > kMaxDigits || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

bool decides_framing_or_routing(std::string_view name) {
  return equal_ignoring_case(name, "host") || equal_ignoring_case(name, "content-length") ||
         equal_ignoring_case(name, "transfer-encoding");
}

std::optional<Field> parse_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return std::nullopt;
  return Field{line.substr(0, colon), trimmed(line.substr(colon + 1))};
}

bool is_forbidden_trailer(std::string_view name) {
  static constexpr std::string_view kForbidden[] = {
      "host",
      "content-length",
      "transfer-encoding",
      "connection",
      "upgrade",
      "te",
      "trailer",
      "expect",
      "authorization",
      "proxy-authorization",
      "cookie",
      "content-type",
      "content-encoding",
      "content-range",
  };
  return std::ranges::any_of(kForbidden, [&](std::string_view other) { return equal_ignoring_case(name, other); });
}

std::optional<HttpFault> RequestHeadParser::request_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  // A line with one space is HTTP/0.9.
  if (first == std::string_view::npos || first == last) return HttpFault::malformed;
  const std::string_view method = line.substr(0, first);
  const std::string_view version = line.substr(last + 1);
  if (version.starts_with("HTTP/2")) return HttpFault::h2c;
  if (version != "HTTP/1.0" && version != "HTTP/1.1") return HttpFault::malformed;
  if (!is_token(method) || method.size() > kMaxMethod) return HttpFault::malformed;
  head_.method = method;
  head_.is_connect = method == "CONNECT";
  head_.minor_version = version.back() - '0';
  return target(line.substr(first + 1, last - first - 1));
}

std::optional<HttpFault> RequestHeadParser::target(std::string_view target) {
  if (target.empty() || !is_visible_ascii(target) || target.contains('#')) return HttpFault::malformed;
  if (head_.is_connect) {
    head_.form = TargetForm::authority;
    target_authority_ = parse_authority(target);
    return target_authority_ && target_authority_->port ? std::nullopt : std::optional(HttpFault::malformed);
  }
  if (target.starts_with('/')) return std::nullopt;
  head_.form = TargetForm::asterisk;
  if (target == "*") return head_.method == "OPTIONS" ? std::nullopt : std::optional(HttpFault::malformed);
  const std::size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return HttpFault::malformed;
  const std::string_view scheme = target.substr(0, scheme_end);
  head_.form = TargetForm::absolute_http;
  if (equal_ignoring_case(scheme, "https")) {
    head_.form = TargetForm::absolute_https;
    default_port_ = 443;
  } else if (!equal_ignoring_case(scheme, "http")) {
    return HttpFault::malformed;
  }
  target.remove_prefix(scheme_end + 3);
  target_authority_ = parse_authority(target.substr(0, target.find_first_of("/?")));
  return target_authority_ ? std::nullopt : std::optional(HttpFault::malformed);
}

std::optional<HttpFault> RequestHeadParser::field(std::string_view line) {
  const auto field = parse_field(line);
  if (!field || ++fields_ > kMaxFields) return HttpFault::malformed;
  if (equal_ignoring_case(field->name, "host")) {
    if (host_) return HttpFault::malformed;
    host_ = field->value;
    return std::nullopt;
  }
  if (equal_ignoring_case(field->name, "connection")) return connection_field(field->value);
  if (equal_ignoring_case(field->name, "upgrade")) {
    if (has_upgrade_ || field->value.empty() || field->value.size() > kMaxUpgrade) return HttpFault::malformed;
    has_upgrade_ = true;
    head_.upgrade = field->value;
    return std::nullopt;
  }
  if (equal_ignoring_case(field->name, "expect")) {
    // RFC 9110 10.1.1 knows one expectation. Receivers that read another spelling differently disagree on whether the
    // body comes.
    if (has_expect_ || !equal_ignoring_case(field->value, "100-continue")) return HttpFault::malformed;
    has_expect_ = true;
    return std::nullopt;
  }
  return framing_field(field->name, field->value);
}

std::optional<HttpFault> RequestHeadParser::framing_field(std::string_view name, std::string_view value) {
  if (equal_ignoring_case(name, "content-length")) {
    const auto length = parse_length(value);
    // A second one is refused even if it says the same: the next receiver may join or drop them.
    if (has_length_ || !length) return HttpFault::malformed;
    has_length_ = true;
    head_.framing = *length == 0 ? BodyFraming::none : BodyFraming::counted;
    head_.body_size = *length;
  } else if (equal_ignoring_case(name, "transfer-encoding")) {
    if (has_coding_ || value != "chunked") return HttpFault::malformed;
    has_coding_ = true;
    head_.framing = BodyFraming::chunked;
  }
  return std::nullopt;
}

std::optional<HttpFault> RequestHeadParser::connection_field(std::string_view value) {
  std::optional<HttpFault> fault;
  for_each_element(value, [&](std::string_view option) {
    if (equal_ignoring_case(option, "upgrade")) connection_upgrade_ = true;
    if (equal_ignoring_case(option, "close")) head_.close_requested = true;
    // An intermediary would drop the named field, and the server then see another request than was judged.
    if (decides_framing_or_routing(option)) fault = HttpFault::malformed;
  });
  return fault;
}

std::optional<HttpFault> RequestHeadParser::resolve_authority() {
  if (!host_ || host_->empty()) {
    // Old clients send CONNECT as HTTP/1.0 without Host; there the target alone says where to.
    if (!head_.is_connect || host_) return HttpFault::host_missing;
    head_.authority = *target_authority_;
    return std::nullopt;
  }
  auto host = parse_authority(*host_);
  if (!host) return HttpFault::malformed;
  if (target_authority_) {
    const net::Port implied = head_.is_connect ? *target_authority_->port : default_port_;
    const bool same_port = host->port.value_or(implied) == target_authority_->port.value_or(implied);
    if (host->host != target_authority_->host || !same_port) return HttpFault::host_mismatch;
    if (!host->port) host->port = target_authority_->port;
  }
  head_.authority = std::move(*host);
  return std::nullopt;
}

std::expected<RequestHead, HttpFault> RequestHeadParser::finish() {
  if (has_length_ && has_coding_) return std::unexpected(HttpFault::malformed);
  if (has_coding_ && head_.minor_version == 0) return std::unexpected(HttpFault::malformed);
  // RFC 9110 9.3.6: CONNECT has no body; who thinks it has one frames the tunnel differently.
  if (head_.is_connect && (has_length_ || has_coding_)) return std::unexpected(HttpFault::malformed);
  if (const auto fault = resolve_authority()) return std::unexpected(*fault);
  head_.upgrade_requested = has_upgrade_ && connection_upgrade_;
  return std::move(head_);
}

}  // namespace weir::wire
