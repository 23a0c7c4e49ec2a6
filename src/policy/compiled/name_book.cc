#include "policy/compiled/name_book.h"

#include <algorithm>

namespace weir::policy {

namespace {

struct Pair;
using PairList = std::list<Pair>;

struct NameRecord {
  net::DomainName name;
  std::vector<PairList::iterator> pairs;
};

struct Pair {
  NameRecord* owner;
  net::IpAddress address;
  std::vector<net::DomainName> aliases;
  std::uint64_t expires_ms;
};

}  // namespace

// `order` holds every pair once, the one that was idle longest in front.
struct NameBook::Impl {
  PairList order;
  std::unordered_map<std::string, NameRecord> names;
  std::unordered_map<net::IpAddress, std::vector<PairList::iterator>> by_address;

  void forget(PairList::iterator pair) {
    const auto at_address = by_address.find(pair->address);
    std::erase(at_address->second, pair);
    if (at_address->second.empty()) by_address.erase(at_address);
    NameRecord& owner = *pair->owner;
    std::erase(owner.pairs, pair);
    order.erase(pair);
    if (owner.pairs.empty()) names.erase(std::string(owner.name.text()));
  }

  // The pair of this name that was idle longest.
  PairList::iterator idlest_of(const NameRecord& record) {
    const auto found = std::ranges::find_if(order, [&](const Pair& pair) { return pair.owner == &record; });
    return found;
  }

  void make_room(const net::DomainName& name) {
    const auto known = names.find(name.text());
    if (known != names.end() && known->second.pairs.size() >= kMaxPairsPerName) forget(idlest_of(known->second));
    while (order.size() >= kMaxPairs) forget(order.begin());
    while (!names.contains(name.text()) && names.size() >= kMaxNames) forget(order.begin());
  }

  void use(PairList::iterator pair, std::uint64_t expires_ms) {
    pair->expires_ms = std::max(pair->expires_ms, expires_ms);
    order.splice(order.end(), order, pair);
  }
};

NameBook::NameBook() : impl_(std::make_unique<Impl>()) {}
NameBook::~NameBook() = default;
NameBook::NameBook(NameBook&&) noexcept = default;
NameBook& NameBook::operator=(NameBook&&) noexcept = default;

void NameBook::learn(const net::DomainName& name, std::span<const net::DomainName> aliases,
                     const net::IpAddress& address, std::uint32_t ttl_seconds, std::uint64_t now_ms) {
  if (aliases.size() > kMaxAliases) return;
  const std::uint64_t expires_ms = now_ms + std::max(kLifeMs, std::uint64_t{ttl_seconds} * 1000);
  if (const auto known = impl_->names.find(name.text()); known != impl_->names.end()) {
    for (const PairList::iterator pair : known->second.pairs) {
      if (pair->address != address) continue;
      pair->aliases.assign(aliases.begin(), aliases.end());
      return impl_->use(pair, expires_ms);
    }
  }
  impl_->make_room(name);
  NameRecord& record = impl_->names.try_emplace(name.text(), NameRecord{.name = name, .pairs = {}}).first->second;
  const auto pair = impl_->order.insert(
      impl_->order.end(),
      {.owner = &record, .address = address, .aliases = {aliases.begin(), aliases.end()}, .expires_ms = expires_ms});
  record.pairs.push_back(pair);
  impl_->by_address[address].push_back(pair);
}

std::vector<NameCandidate> NameBook::candidates(const net::IpAddress& address, std::uint64_t now_ms) const {
  std::vector<NameCandidate> live;
  const auto found = impl_->by_address.find(address);
  if (found == impl_->by_address.end()) return live;
  for (const PairList::iterator pair : found->second) {
    if (pair->expires_ms > now_ms) live.push_back({.name = &pair->owner->name, .aliases = pair->aliases});
  }
  return live;
}

std::vector<net::DomainName> NameBook::expired(const net::IpAddress& address, std::uint64_t now_ms) const {
  std::vector<net::DomainName> names;
  const auto found = impl_->by_address.find(address);
  if (found == impl_->by_address.end()) return names;
  for (const PairList::iterator pair : found->second) {
    if (pair->expires_ms <= now_ms) names.push_back(pair->owner->name);
  }
  return names;
}

void NameBook::touch(const net::IpAddress& address, std::uint64_t now_ms) {
  const auto found = impl_->by_address.find(address);
  if (found == impl_->by_address.end()) return;
  for (const PairList::iterator pair : found->second) {
    if (pair->expires_ms > now_ms) impl_->use(pair, now_ms + kLifeMs);
  }
}

void NameBook::forget_if(const Test& gone) {
  for (auto pair = impl_->order.begin(); pair != impl_->order.end();) {
    const auto here = pair++;
    if (gone({.name = &here->owner->name, .aliases = here->aliases}, here->address)) impl_->forget(here);
  }
}

std::size_t NameBook::names() const {
  return impl_->names.size();
}
std::size_t NameBook::pairs() const {
  return impl_->order.size();
}

}  // namespace weir::policy
