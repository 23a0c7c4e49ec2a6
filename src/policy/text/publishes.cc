#include "policy/text/publishes.h"

#include <algorithm>

#include "net/loopback.h"
#include "policy/text/values.h"

namespace weir::policy {
namespace {

bool same_port(const Publish& one, const Publish& other) {
  return one.host != 0 && one.host == other.host && one.bind == other.bind && one.protocol == other.protocol;
}

bool is_every_address(const net::IpAddress& address) {
  return address == net::IpAddress() || address == net::IpAddress::v4({0, 0, 0, 0});
}

}  // namespace

Result<> add_publishes(const std::vector<std::string>& flags, std::vector<Publish>& publishes) {
  for (const std::string& flag : flags) {
    WEIR_TRY(const Publish publish, in_context(parse_publish_flag(flag), "option -p"));
    publishes.push_back(publish);
  }
  if (publishes.size() > kMaxPublishes)
    return fail("more than " + std::to_string(kMaxPublishes) + " ports are published");
  for (auto each = publishes.begin(); each != publishes.end(); ++each) {
    const auto again =
        std::find_if(each + 1, publishes.end(), [&](const Publish& other) { return same_port(*each, other); });
    if (again == publishes.end()) continue;
    return std::unexpected(
        Error("the same port is published twice: " + publish_text(*each) + " and " + publish_text(*again))
            .with_remedy("leave one out, or give it another port of this machine (0: any free one)"));
  }
  return {};
}

bool all_published(const std::vector<Publish>& publishes, const std::vector<Publish>& outer) {
  return std::ranges::all_of(publishes,
                             [&](const Publish& each) { return std::ranges::find(outer, each) != outer.end(); });
}

void note_wide(const std::vector<Publish>& publishes, std::vector<std::string>& notices) {
  for (const Publish& each : publishes) {
    if (net::is_loopback(each.bind)) continue;
    notices.push_back(publish_text(each) + " is published to other machines, on " +
                      (is_every_address(each.bind) ? "every address" : "an address") + " of this one");
  }
}

}  // namespace weir::policy
