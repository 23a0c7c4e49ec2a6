// `weir policy test FILE CASES`: a table of requests and the verdicts that its author expects.
//
// One case per line; '#' starts a comment, empty lines are skipped, words are separated by spaces or tabs:
//
//   allow  example.com:443
//   refuse evil.example:443                          no-rule
//   refuse 10.0.0.5:443                              floor
//   allow  93.184.215.14:443 as example.com sni example.com
//   refuse 93.184.215.14:443 as example.com sni evil.example   sni-mismatch
//   allow  93.184.215.14:22  as example.com opaque
//
// EXPECTED TARGET [as NAME] [sni NAME | sni - | host NAME | host - | opaque] [REASON]. `as`: a name that the guest has
// resolved to the address. `sni`, `host`, `opaque`: what the first bytes of the connection say; "-" is none. Without a
// reason every refusal will do.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/text/explain.h"

namespace weir::policy {

struct PolicyCase {
  std::uint32_t line = 0;
  std::string text;  // the line, without comment
  bool expect_allowed = false;
  std::optional<Reason> reason;
  ExplainRequest request;
};

// More cases than this are refused: the whole result is kept in memory.
inline constexpr std::size_t kMaxCases = 100'000;

// Errors name file, line and column.
Result<std::vector<PolicyCase>> parse_cases(std::string_view text, std::string_view file);

struct CaseFailure {
  std::uint32_t line = 0;
  std::string text;
  Explanation got;
};

// The cases that do not hold.
std::vector<CaseFailure> run_cases(const Image& image, const HostFacts& facts, const std::vector<PolicyCase>& cases);

// "cases.txt:4: refuse evil.example:443 no-rule: but it is allowed, by @pypi (layer session)" per failure.
std::string failures_text(const std::vector<CaseFailure>& failures, std::string_view file);
// [{"line": 4, "case": "...", "got": {...}}]
std::string failures_json(const std::vector<CaseFailure>& failures);

}  // namespace weir::policy
