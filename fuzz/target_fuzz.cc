// Targets are total: any bytes are a target or an error with a column inside the text, and what is printed for a target
// parses back to the same one.
#include <cstdlib>

#include "policy/text/explain.h"
#include "policy/text/target.h"

namespace {

using weir::policy::Action;

void check_round_trip(const weir::policy::Target& target, Action action) {
  std::string text = weir::policy::canonical_text(target);
  const std::vector<std::string> insisted = {weir::policy::canonical_destination(target)};
  const auto again = weir::policy::parse_target(text, {.action = action, .insisted_broad = insisted});
  if (!again || again->targets.size() != 1) std::abort();
  weir::policy::Target expected = target;
  // A denied name of one protocol prints without it where that is TCP; compare the rest.
  expected.protocols = again->targets.front().protocols;
  if (!(again->targets.front() == expected)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = weir::as_text({data, size});
  for (const Action action : {Action::allow, Action::deny}) {
    const auto parsed = weir::policy::parse_target(text, {.action = action, .insisted_broad = {}});
    if (!parsed) {
      if (parsed.error().column == 0 || parsed.error().column > text.size() + 1) std::abort();
      static_cast<void>(parsed.error().about(text));
      continue;
    }
    for (const auto& target : parsed->targets) check_round_trip(target, action);
  }
  if (const auto pieces = weir::policy::split_targets(text)) {
    for (const std::string_view piece : *pieces) {
      if (piece.data() < text.data() || piece.data() + piece.size() > text.data() + text.size()) std::abort();
    }
  }
  static_cast<void>(weir::policy::parse_explain_request(text));
  return 0;
}
