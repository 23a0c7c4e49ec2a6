// `weir policy learn`: what was used becomes the smallest policy that would have allowed it.
//
// The names come from a guest. A name stands in the policy only if it is one (net::DomainName: letters, digits, '-',
// '_', dots), so that nothing of it can end a string or begin a line; what is none is left out and counted.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/ip_address.h"

namespace weir::policy {

// A destination that was reached.
struct UsedDestination {
  std::string proto;                      // "tcp", "udp", "icmp"
  std::string name;                       // not checked; empty for an address that had none
  std::vector<net::IpAddress> addresses;  // that were dialled
  std::optional<net::Port> port;
  std::uint64_t flows = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
};

struct LearnedPolicy {
  std::string text;          // TOML
  std::size_t entries = 0;   // that allow something
  std::size_t left_out = 0;  // destinations that no entry could be written for
};

// `uncounted`: attempts beyond what was told apart; the policy says that it is not whole.
// `asked`: names the DNS was asked for; those that nothing was reached under are told in comments and not allowed.
LearnedPolicy learn_policy(std::span<const UsedDestination> used, std::span<const std::string> asked,
                           std::uint64_t uncounted);

}  // namespace weir::policy
