// What a decision says: yes or no, why, and which entry of which layer decided.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::policy {

// The closed list of policy.md section 6; spelled in events with name_of().
enum class Reason : std::uint8_t {
  none = 0,  // allowed
  no_rule,
  denied_by_rule,
  floor,
  rebind,
  no_name,
  sni_missing,
  sni_mismatch,
  host_missing,
  host_mismatch,
  ech,
  not_tls,
  not_http,
  malformed,
  limit,
  quota,
  protocol,
  resolve_failed,
  secret,
  upstream_proxy,
  audit,
  shutting_down,
};
inline constexpr std::uint8_t kReasonCount = static_cast<std::uint8_t>(Reason::shutting_down) + 1;

// "no-rule", "denied-by-rule", ...; "" for Reason::none.
std::string_view name_of(Reason reason);

// From the outside in. What narrows a live sandbox is one more layer each time, inside of the last: the numbers from
// `run` to kInnermostLayer, all called "run". A layer is never taken away, so a RuleRef keeps its meaning.
enum class Layer : std::uint8_t { none = 0, floor = 1, session = 2, run = 3 };
inline constexpr Layer kInnermostLayer{32};
std::string_view name_of(Layer layer);

// Which entry decided. `index` counts within the layer's entries of the compiled image, in file order; the text is
// looked up there (Image::entry_text). kNoEntry: the mode's default or the built-in floor decided.
struct RuleRef {
  static constexpr std::uint32_t kNoEntry = 0xffff'ffff;

  Layer layer = Layer::none;
  std::uint32_t index = kNoEntry;

  friend bool operator==(const RuleRef&, const RuleRef&) = default;
};

struct Verdict {
  bool allowed = false;
  Reason reason = Reason::no_rule;
  RuleRef rule;
  // Allowed so far, but the name in the first flight could change that: hold the guest's bytes, read it, and ask
  // admit_first_flight(). Never set on a refusal.
  bool hold_first_flight = false;
};

inline Verdict refusal(Reason reason, const RuleRef& rule = {}) {
  return {.allowed = false, .reason = reason, .rule = rule, .hold_first_flight = false};
}

}  // namespace weir::policy
