// The limits of the policy on questions and names (policy.md section 7): they delay, and refuse who would wait too
// long.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/token_bucket.h"
#include "net/domain_name.h"
#include "policy/compiled/admit.h"

namespace weir::gateway {

class QuestionLimits {
 public:
  static constexpr std::uint64_t kPatienceMs = 5000;
  // Questions that wait for their turn, whatever the rates: a few hundred bytes each.
  static constexpr std::size_t kMaxWaiting = 4096;

  explicit QuestionLimits(const policy::Limits& limits) { narrow(limits, 0); }
  // The smaller of both holds from now on, for each limit; turns that were given stay.
  void narrow(const policy::Limits& limits, std::uint64_t now_ms);

  // How many milliseconds a question of the guest must wait; nullopt: too long.
  std::optional<std::uint64_t> question(std::uint64_t now_ms) {
    return questions_ ? questions_->take(now_ms, 1, kPatienceMs) : std::uint64_t{0};
  }
  // Likewise for asking a name upstream. One that was asked in the last minute costs nothing.
  std::optional<std::uint64_t> name(const net::DomainName& name, policy::NameChoice choice, std::uint64_t now_ms);

 private:
  static constexpr std::uint64_t kMinuteMs = 60'000;
  // Beyond it a name is forgotten early, and costs again.
  static constexpr std::size_t kMaxRemembered = 8192;

  void forget(std::uint64_t now_ms);

  std::optional<TokenBucket> questions_;
  std::optional<TokenBucket> names_;
  std::optional<TokenBucket> guest_names_;                   // that the guest chose
  std::unordered_map<std::string, std::uint64_t> due_;       // name -> when it may be asked
  std::deque<std::pair<std::uint64_t, std::string>> order_;  // when and which, the oldest first
};

}  // namespace weir::gateway
