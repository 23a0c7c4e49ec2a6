#include "wire/http1_forward.h"

#include <algorithm>
#include <vector>

#include "wire/http1_chars.h"

namespace weir::wire {

namespace {

using http1::equal_ignoring_case;

constexpr std::string_view kLineEnd = "\r\n";
constexpr net::Port kHttp = 80;

// The next line of a head that was parsed before, without its end.
std::string_view take_line(std::string_view& raw) {
  const std::size_t end = std::min(raw.find(kLineEnd), raw.size());
  const std::string_view line = raw.substr(0, end);
  raw.remove_prefix(std::min(end + kLineEnd.size(), raw.size()));
  return line;
}

bool is_of_the_connection(std::string_view name) {
  static constexpr std::string_view kNames[] = {"connection", "keep-alive", "te", "upgrade", "http2-settings"};
  constexpr std::string_view kProxy = "proxy-";
  if (name.size() > kProxy.size() && equal_ignoring_case(name.substr(0, kProxy.size()), kProxy)) return true;
  return std::ranges::any_of(kNames, [&](std::string_view other) { return equal_ignoring_case(name, other); });
}

// What `Connection` names belongs to the connection too.
std::vector<std::string_view> named_by_connection(std::string_view raw) {
  std::vector<std::string_view> names;
  while (!raw.empty()) {
    const auto field = parse_field(take_line(raw));
    if (!field || !equal_ignoring_case(field->name, "connection")) continue;
    for_each_element(field->value, [&](std::string_view option) { names.push_back(option); });
  }
  return names;
}

// Copies the fields of a head that go further, and tells `skip` about none of the others.
template <class Skip>
void copy_fields(std::string_view raw, std::string& out, Skip skip) {
  const std::vector<std::string_view> named = named_by_connection(raw);
  while (!raw.empty()) {
    const std::string_view line = take_line(raw);
    const auto field = parse_field(line);
    if (!field || is_of_the_connection(field->name) || skip(field->name)) continue;
    if (std::ranges::any_of(named, [&](std::string_view name) { return equal_ignoring_case(name, field->name); })) {
      continue;
    }
    out.append(field->name).append(": ").append(field->value).append(kLineEnd);
  }
}

// "http://host:80/path?q" -> "/path?q"
std::string origin_form(std::string_view target, const RequestHead& head) {
  constexpr std::string_view kSchemeEnd = "://";
  target.remove_prefix(target.find(kSchemeEnd) + kSchemeEnd.size());
  target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
  if (target.empty()) return head.method == "OPTIONS" ? "*" : "/";
  return target.front() == '/' ? std::string(target) : "/" + std::string(target);
}

}  // namespace

std::string forward_request(std::string_view raw, const RequestHead& head) {
  const std::string_view line = take_line(raw);
  const std::size_t begin = line.find(' ') + 1;
  const std::size_t end = line.rfind(' ');
  Authority host = head.authority;
  if (host.port == kHttp) host.port.reset();
  std::string out = head.method + " " + origin_form(line.substr(begin, end - begin), head) + " ";
  out.append(line.substr(end + 1)).append(kLineEnd);
  out.append("Host: ").append(text_of(host)).append(kLineEnd);
  copy_fields(raw, out, [](std::string_view name) { return equal_ignoring_case(name, "host"); });
  if (head.close_requested) out.append("Connection: close\r\n");
  return out.append(kLineEnd);
}

std::string forward_response(std::string_view raw, Persistence persistence) {
  std::string out;
  out.append(take_line(raw)).append(kLineEnd);
  copy_fields(raw, out, [](std::string_view) { return false; });
  if (persistence == Persistence::close) out.append("Connection: close\r\n");
  return out.append(kLineEnd);
}

}  // namespace weir::wire
