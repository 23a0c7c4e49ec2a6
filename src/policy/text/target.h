// Targets: `[proto://]destination[:ports]` (policy.md section 2). Strict and total: every text is one thing or an
// error.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "net/domain_name.h"
#include "policy/compiled/source.h"

namespace weir::policy {

// Where in the text it is wrong, and what to write instead.
struct TargetError {
  std::size_t column = 1;  // 1-based byte of the target's text
  std::string what;        // without the target's text
  std::string remedy;      // "" where nothing near is valid

  // "'127.1:80', column 1: ..."
  Error about(std::string_view text) const;
};

template <class T>
using TargetResult = std::expected<T, TargetError>;

// Who may write a target that is too broad: everyone who insists, or the operator of the machine in any case.
enum class BroadTargets : std::uint8_t { insisted, accepted };

struct TargetRules {
  // What an entry with this target does: without a protocol a denied name is denied for every protocol, an allowed one
  // is allowed for TCP. Only allowed targets can be too broad.
  Action action = Action::allow;
  // --insist broad=...: the destinations as canonical_destination() spells them.
  std::span<const std::string> insisted_broad;
  BroadTargets broad = BroadTargets::insisted;
};

struct ParsedTarget {
  std::string text;             // as it was written
  std::vector<Target> targets;  // one; the members of a set
  std::string_view set;         // name of the set without "@", "" if it is none
};

// One target, no list.
TargetResult<ParsedTarget> parse_target(std::string_view text, const TargetRules& rules);

// A comma-separated list as a flag gives it: "a.example,b.example:80,443" is two targets, because a piece of digits and
// dashes continues the port list before it.
TargetResult<std::vector<std::string_view>> split_targets(std::string_view text);

// "*.example.com", "10.0.0.0/8", "@private": the destination alone, in the one spelling that weir prints.
std::string canonical_destination(const Target& target);
// With protocol and ports where the target is limited to some.
std::string canonical_text(const Target& target);

// A host name in Unicode or ASCII to its A-labels (UTS 46, non-transitional, strict). Also for explain and cases.
Result<net::DomainName> parse_host_name(std::string_view text);

}  // namespace weir::policy
