#include "policy/compiled/stand_in.h"

#include <algorithm>

namespace weir::policy {

namespace {

// Neither the first nor the last of the block: they look like a network and a broadcast address.
constexpr std::uint32_t kCount = (1u << 17) - 2;
static_assert(kCount > 2 * NameBook::kMaxPairs, "there is always one that stands for nothing");

net::IpAddress numbered(std::uint32_t number, Family family) {
  if (family == Family::v4) return net::IpAddress::v4(kStandIns4.base().v4_bits() + number);
  net::IpAddress::V6 bytes = kStandIns6.base().bytes();
  for (unsigned i = 0; i < 4; ++i) bytes[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  return net::IpAddress::v6(bytes);
}

}  // namespace

net::IpAddress StandIns::of(const NameBook& book, const net::DomainName& name, Family family) {
  for (const net::IpAddress& each : book.addresses(name)) {
    if (is_stand_in(each) && each.is_v4() == (family == Family::v4)) return each;
  }
  net::IpAddress next;
  do {
    last_ = last_ % kCount + 1;
    next = numbered(last_, family);
  } while (book.remembers(next));
  return next;
}

}  // namespace weir::policy
