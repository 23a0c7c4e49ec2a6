// How many bytes may move: the quotas and rates of the policy (policy.md section 7), of all flows together.
//
// Streams are held back: an Allowance says how much may be read now, or when. Nothing beyond a quota is ever read, so
// none is overshot. Datagrams over a rate are lost.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>

#include "base/token_bucket.h"
#include "net/ip_address.h"
#include "policy/compiled/image.h"

namespace weir::gateway {

enum class Way : std::uint8_t { up, down };

class Meter {
 public:
  // `report`: a limit was reached by a flow (0: by all). A rate is told of once a minute.
  using Report = std::function<void(policy::Limit, std::uint64_t flow)>;

  Meter(const policy::Limits& limits, Report report);
  // The smaller of both holds from now on, for each limit; what has moved counts.
  void narrow(const policy::Limits& limits, std::uint64_t now_ms);

  // What was sent to one address. Valid as long as the meter.
  struct Account {
    std::uint64_t sent = 0;
  };
  Account& account(const net::IpAddress& peer);
  // Of whom a connected socket leads to. One that is connected no more moves nothing: any account will do.
  Account& account_of(int socket);

  struct Left {
    std::uint64_t bytes = 0;
    policy::Limit limit = policy::Limit::egress_bytes;  // the nearest one, where `bytes` is finite
  };
  Left left(Way way, const Account& account) const;
  void count(Way way, Account& account, std::uint64_t bytes);

  void report(policy::Limit limit, std::uint64_t flow) const { report_(limit, flow); }

  // Whether a datagram of so many bytes may pass; those that may are counted.
  enum class Passage : std::uint8_t { free, lost, used_up };
  Passage pass(Way way, Account& account, std::uint64_t bytes, std::uint64_t now_ms);

  bool has_rate(Way way) const { return of(way).rate.has_value(); }
  // Of a direction with a rate: `count` bytes, at most what it moves in one go. Milliseconds until they may move.
  std::uint64_t reserve(Way way, std::uint64_t count, std::uint64_t now_ms);
  void give_back(Way way, std::uint64_t count) { of(way).rate->give_back(count); }
  std::uint64_t portion(Way way) const { return of(way).portion; }

 private:
  // Addresses with an account of their own; all beyond share one.
  static constexpr std::size_t kMaxAccounts = 65'536;

  struct Total {
    policy::Limit rate_limit;
    std::optional<TokenBucket> rate = {};
    std::uint64_t portion = UINT64_MAX;
    std::optional<std::uint64_t> told_ms = {};  // when it was last told of the rate
    std::uint64_t quota = UINT64_MAX;
    std::uint64_t moved = 0;
  };
  Total& of(Way way) { return way == Way::up ? up_ : down_; }
  const Total& of(Way way) const { return way == Way::up ? up_ : down_; }
  void tell_of_rate(Total& total, std::uint64_t now_ms);

  Report report_;
  std::uint64_t per_address_ = policy::Limits::kUnlimited;
  Total up_;
  Total down_;
  std::unordered_map<net::IpAddress, Account> accounts_;
  Account others_;
};

// One direction of a stream.
class Allowance {
 public:
  Allowance(Meter& meter, Way way) : meter_(meter), way_(way) {}
  ~Allowance() { rest(); }
  Allowance(const Allowance&) = delete;
  Allowance& operator=(const Allowance&) = delete;

  // Before anything else.
  void begin(Meter::Account& account) { account_ = &account; }

  struct Room {
    std::uint64_t bytes = 0;                    // may be read now
    std::uint64_t wait_ms = 0;                  // with 0 bytes: ask again after so long
    std::optional<policy::Limit> used_up = {};  // with 0 bytes and no wait
  };
  Room room(std::uint64_t now_ms);
  // So many were read, of a room.
  void used(std::uint64_t bytes);
  // There is nothing to read: the others get what was reserved.
  void rest();

 private:
  Meter& meter_;
  Meter::Account* account_ = nullptr;
  Way way_;
  std::uint64_t reserved_ = 0;
  std::uint64_t ready_ms_ = 0;  // when the reserved bytes may move
};

}  // namespace weir::gateway
