// Which names lead to which addresses, for one sandbox (policy.md section 4 "Name book").
//
// Time is an argument (milliseconds of any monotonic clock). Bounded: when full, the pair that was idle longest goes.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "net/domain_name.h"
#include "net/ip_address.h"
#include "policy/compiled/admit.h"

namespace weir::policy {

class NameBook {
 public:
  static constexpr std::size_t kMaxNames = 4096;
  static constexpr std::size_t kMaxPairs = 16384;
  static constexpr std::size_t kMaxPairsPerName = 256;
  static constexpr std::size_t kMaxAliases = 8;
  static constexpr std::uint64_t kLifeMs = 3'600'000;  // after the last use, and at least the TTL

  NameBook();
  ~NameBook();
  NameBook(NameBook&&) noexcept;
  NameBook& operator=(NameBook&&) noexcept;

  // Enters or renews (name, address). `aliases`: the CNAME chain below the name; with more than kMaxAliases nothing is
  // entered, since a deny might be on the part that does not fit.
  void learn(const net::DomainName& name, std::span<const net::DomainName> aliases, const net::IpAddress& address,
             std::uint32_t ttl_seconds, std::uint64_t now_ms);

  // The live candidates for an address. The pointers stay valid until the next non-const call.
  std::vector<NameCandidate> candidates(const net::IpAddress& address, std::uint64_t now_ms) const;

  // Names whose pair with this address has expired but is still remembered: ask again once before refusing.
  std::vector<net::DomainName> expired(const net::IpAddress& address, std::uint64_t now_ms) const;

  // A connection used the pairs of this address: their hour starts anew.
  void touch(const net::IpAddress& address, std::uint64_t now_ms);

  // Forgets every pair for which `gone` says so.
  using Test = std::function<bool(const NameCandidate& name, const net::IpAddress& address)>;
  void forget_if(const Test& gone);

  std::size_t names() const;
  std::size_t pairs() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::policy
