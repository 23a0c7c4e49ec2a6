// A line on the control socket of a live sandbox, and what becomes of it: parsed and compiled, or refused.
#include "wire/control_request.h"

#include "base/bytes.h"
#include "policy/text/narrow.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  const auto request = wire::parse_control_request(as_text({data, size}));
  if (!request || request->op != wire::ControlRequest::Op::narrow) return 0;
  policy::PolicyFlags flags;
  if (request->policy) flags.file = policy::TextFile{.name = "policy", .text = *request->policy};
  flags.mode = request->network_mode;
  flags.allow = request->network_allowlist;
  flags.deny = request->network_denylist;
  flags.insist = request->insist;
  static_cast<void>(policy::compile_narrowing(flags));
  return 0;
}
