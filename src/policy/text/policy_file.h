// A policy file (TOML): text to plain values, with the place of everything that can still be wrong later.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/compiled/source.h"
#include "policy/text/mode.h"

namespace weir::policy {

// 1-based; 0 where something does not come from a file.
struct Position {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};

struct WrittenTarget {
  std::string text;
  Position at;  // of the first character of the target itself
};

struct WrittenRule {
  Action action = Action::deny;
  Ech ech = Ech::refused;
  std::vector<WrittenTarget> to;
};

struct PolicyText {
  std::string file;  // for messages
  std::optional<ModeWord> mode;
  std::string mode_word;
  // Absent and empty are different: an empty allow list says "nothing", an absent one says nothing.
  std::optional<std::vector<WrittenTarget>> allow;
  std::vector<WrittenTarget> deny;
  std::vector<WrittenTarget> deny_lists;
  std::vector<WrittenRule> rules;
  // Set where the policy was compiled before: its entries, instead of written ones.
  std::optional<LayerSource> compiled;
  NameNeed name_need = NameNeed::optional;

  // What is written of each: the proxy, and where its credentials are.
  struct Egress {
    std::optional<net::Endpoint> endpoint;
    std::optional<EgressProxy> credentials;  // only those two fields of it
  };
  Egress upstream_proxy;
  Egress upstream_socks;

  std::vector<DnsUpstream> dns_upstreams;
  std::vector<std::uint16_t> dns_types;
  std::array<std::optional<std::uint64_t>, kLimitCount> limits{};
  std::vector<Publish> publishes;

  // [after], which has none itself, and where it is written.
  std::shared_ptr<const PolicyText> after;
  Position after_at;

  // Only in the operator's floor file.
  std::vector<net::IpAddress> self_addresses;
  std::vector<net::Cidr> nat64_prefixes;
};

// The operator's floor file knows a few keys more, and fewer of the others.
enum class FileKind : std::uint8_t { policy, floor };

// `file` names the text in errors: "agents.toml:3:9: ...". Targets are checked for syntax here; whether a broad one was
// insisted on is known only when the policy is compiled.
Result<PolicyText> parse_policy(std::string_view text, std::string_view file, FileKind kind = FileKind::policy);

// Bigger files are refused before they are parsed.
inline constexpr std::size_t kMaxPolicyText = 16u << 20;

// "FILE:LINE:COLUMN: " or "" where the position is not in a file.
std::string place_text(std::string_view file, Position at);

}  // namespace weir::policy
