// The head of one HTTP/1 request, a line at a time.
//
// Strict where receivers are known to differ (RFC 9112 11.2): whatever two of them could frame or route differently is
// a fault, so that the request which is judged is the request that the server answers.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "wire/authority.h"

namespace weir::wire {

enum class HttpFault : std::uint8_t {
  malformed,      // breaks the format or one of the limits, or could be framed in two ways
  host_missing,   // no Host, or an empty one
  host_mismatch,  // the target names another host or port than Host
  h2c,            // HTTP/2, as the preface of prior knowledge spells it
};

enum class BodyFraming : std::uint8_t {
  none,
  counted,
  chunked,
  until_close,  // responses only
};

// How the target is written (RFC 9112 3.2).
enum class TargetForm : std::uint8_t { origin, asterisk, absolute_http, absolute_https, authority };

struct RequestHead {
  std::string method;
  TargetForm form = TargetForm::origin;
  Authority authority;  // of Host; for CONNECT of the target
  int minor_version = 1;
  bool is_connect = false;
  bool close_requested = false;  // `Connection: close`
  // `Upgrade` together with `Connection: upgrade`; `upgrade` is what it asks for, e.g. "websocket" or "h2c".
  bool upgrade_requested = false;
  std::string upgrade;
  BodyFraming framing = BodyFraming::none;
  std::uint64_t body_size = 0;  // for counted
};

class RequestHeadParser {
 public:
  static constexpr std::size_t kMaxMethod = 32;   // the longest registered one has 17 characters
  static constexpr std::size_t kMaxFields = 256;  // beyond what servers take by default (100 or 128)

  // Lines without CR LF; CTL bytes but HTAB never get here. A value means that the request is refused.
  std::optional<HttpFault> request_line(std::string_view line);
  std::optional<HttpFault> field(std::string_view line);
  // After the empty line.
  std::expected<RequestHead, HttpFault> finish();

 private:
  std::optional<HttpFault> target(std::string_view target);
  std::optional<HttpFault> framing_field(std::string_view name, std::string_view value);
  std::optional<HttpFault> connection_field(std::string_view value);
  std::optional<HttpFault> resolve_authority();

  RequestHead head_;
  std::size_t fields_ = 0;
  std::optional<Authority> target_authority_;  // absolute-form and CONNECT
  net::Port default_port_ = 80;                // of the target's scheme
  std::optional<std::string> host_;
  bool has_length_ = false;
  bool has_coding_ = false;
  bool has_upgrade_ = false;
  bool has_expect_ = false;
  bool connection_upgrade_ = false;
};

// Without blanks and tabs at either end.
std::string_view trimmed(std::string_view text);

struct Field {
  std::string_view name;
  std::string_view value;  // without the blanks around it
};
// nullopt: a continuation line, a blank before the colon, no name, no colon.
std::optional<Field> parse_field(std::string_view line);

// Calls `use` with every element of a comma-separated list, without the blanks around it.
template <class Use>
void for_each_element(std::string_view list, Use use) {
  for (;;) {
    const std::size_t comma = list.find(',');
    use(trimmed(list.substr(0, comma)));
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

// Decimal digits without a sign or a leading zero, below 2^63: what no receiver reads otherwise.
std::optional<std::uint64_t> parse_length(std::string_view text);

// Host, Content-Length and Transfer-Encoding: an intermediary that dropped one would send on another message than was
// judged.
bool decides_framing_or_routing(std::string_view name);

// Fields that decide framing, routing or rights and therefore may not come behind the body (RFC 9110 6.5.1).
bool is_forbidden_trailer(std::string_view name);

}  // namespace weir::wire
