#include "daemon/target.h"

#include <algorithm>

#include "base/hex.h"
#include "daemon/utf8.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kMaxParameters = 32;

}  // namespace

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_value(text[i + 1]);
    const int low = hex_value(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  if (decoded.find('\0') != std::string::npos || !is_utf8(decoded)) return std::nullopt;
  return decoded;
}

wire::Answer<Target> parse_target(std::string_view text) {
  if (text.size() > kMaxTarget) return refuse(ErrorCode::too_large, "the target of the request is too long");
  if (text.empty() || text.front() != '/')
    return refuse(ErrorCode::bad_request, "the target of the request is no path");
  if (text.find('#') != std::string_view::npos) return refuse(ErrorCode::bad_request, "a '#' in the target");
  Target target;
  const std::size_t mark = text.find('?');
  target.path = text.substr(0, mark);
  std::string_view rest = mark == std::string_view::npos ? std::string_view() : text.substr(mark + 1);
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view item = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (item.empty()) continue;
    if (target.query.size() == kMaxParameters) return refuse(ErrorCode::bad_request, "too many query parameters");
    const std::size_t equals = item.find('=');
    const auto name = percent_decoded(item.substr(0, equals));
    const auto value = percent_decoded(equals == std::string_view::npos ? "" : item.substr(equals + 1));
    if (!name || !value) return refuse(ErrorCode::bad_request, "the query is not percent-encoded UTF-8");
    target.query.emplace_back(*name, *value);
  }
  return target;
}

}  // namespace weir::daemon
