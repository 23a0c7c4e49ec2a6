// Whatever stands in a receipt: it is read or refused, and what is learned from it is a policy that parses, with as
// many entries as were written, in printable ASCII. The same from a name alone, as a guest chooses it.
#include <algorithm>
#include <cstdlib>

#include "audit/receipt.h"
#include "base/bytes.h"
#include "policy/text/learn.h"
#include "policy/text/policy_file.h"

namespace {

using weir::policy::UsedDestination;

void check(const std::vector<UsedDestination>& used, const std::vector<std::string>& asked) {
  const auto learned = weir::policy::learn_policy(used, asked, 0);
  for (const char c : learned.text) {
    if (c != '\n' && (c < 0x20 || c == 0x7f)) std::abort();
  }
  const auto parsed = weir::policy::parse_policy(learned.text, "learned.toml");
  if (!parsed) std::abort();
  const std::size_t allowed = parsed->allow ? parsed->allow->size() : 0;
  if (allowed != learned.entries || !parsed->deny.empty() || !parsed->rules.empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(weir::as_text({data, size}));
  const auto address = *weir::net::IpAddress::parse("93.184.216.10");
  check({{.proto = "tcp", .name = text, .addresses = {address}, .port = 443, .flows = 1}}, {text});
  const auto read = weir::audit::parse_receipt(text);
  if (!read) return 0;
  std::vector<UsedDestination> used;
  for (const auto& entry : *read) {
    used.push_back({.proto = entry.proto,
                    .name = entry.name,
                    .addresses = entry.addresses,
                    .port = entry.port,
                    .flows = entry.flows});
  }
  check(used, {});
  return 0;
}
