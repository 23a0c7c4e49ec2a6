// What is said on the control socket of a live sandbox (weir run --control): one line of JSON each way.
//
//   {"op": "narrow", "network_mode": "allowlist", "network_allowlist": ["pypi.org:443"]}
//   {"generation": 2, "policy": "0123456789abcdef", "cut": 3, "warnings": []}
//   {"error": {"code": "cannot_widen", "message": "...", "remedy": "..."}}
//
// The keys are those of the HTTP API. Lines end with a newline; whoever asks is answered once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace weir::wire {

struct ControlRequest {
  enum class Op : std::uint8_t {
    show,    // which policy is in force
    narrow,  // a narrower one, from now on
  };
  // Bytes of a line, its newline included. Longer ones are refused before they are parsed.
  static constexpr std::size_t kMaxLine = 1u << 20;
  // Of any list.
  static constexpr std::size_t kMaxItems = 4096;

  Op op = Op::show;
  // Of narrow only.
  std::optional<std::string> policy;  // the text of a policy file
  std::string network_mode;           // also spelled "network"
  std::vector<std::string> network_allowlist;
  std::vector<std::string> network_denylist;
  std::vector<std::string> insist;
};

// `line` without its newline. Unknown keys, wrong types and keys of another op are errors.
Result<ControlRequest> parse_control_request(std::string_view line);

struct ControlReply {
  struct Refusal {
    std::string code;
    std::string message;
    std::string remedy;
  };
  std::optional<Refusal> refused;
  // Otherwise:
  std::uint64_t generation = 0;
  std::string policy = {};  // its hash
  std::uint64_t cut = 0;    // connections that lost their permission
  std::vector<std::string> warnings = {};
};

// Newline included.
std::string control_reply_line(const ControlReply& reply);

}  // namespace weir::wire
