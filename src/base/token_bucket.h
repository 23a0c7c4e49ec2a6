// A rate with a burst: how long must who wants so many tokens wait?
//
// Pure: the time is an argument, in milliseconds of any clock that only rises. Tokens are handed out in advance: who
// must wait has its turn reserved, so that nobody who came later goes first, and what is handed out in a time t is at
// most `burst` + rate * t, whatever is asked for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace weir {

class TokenBucket {
 public:
  // `tokens` every `period_ms` (1..2^32), and `burst` of them at once after a pause. Full at first. More than 2^62 of
  // either is as good as no limit.
  TokenBucket(std::uint64_t tokens, std::uint64_t period_ms, std::uint64_t burst)
      : tokens_(std::clamp<std::uint64_t>(tokens, 1, kMost)),
        period_ms_(period_ms),
        full_(Amount{std::clamp<std::uint64_t>(burst, 1, kMost)} * period_ms),
        level_(full_) {}

  // The burst of connects and questions: two seconds' worth.
  static constexpr std::uint64_t twice(std::uint64_t tokens) { return std::min(tokens, kMost / 2) * 2; }

  // Takes `count` tokens and says how many milliseconds from `now_ms` on they may be used; 0: now. nullopt, and nothing
  // is taken, if that is more than `patience_ms`.
  std::optional<std::uint64_t> take(std::uint64_t now_ms, std::uint64_t count, std::uint64_t patience_ms) {
    refill(now_ms);
    const Amount left = level_ - Amount{std::min(count, kMost)} * period_ms_;
    const Amount wait = left >= 0 ? 0 : (-left + tokens_ - 1) / tokens_;
    if (wait > Amount{patience_ms}) return std::nullopt;
    level_ = left;
    return static_cast<std::uint64_t>(wait);
  }

  // From now on at most so many tokens every period, and at once. Turns that were handed out stay, and the next one
  // comes when it would have come: what was promised at the old rate is not waited for at the new one.
  void narrow(std::uint64_t now_ms, std::uint64_t tokens, std::uint64_t burst) {
    refill(now_ms);
    const std::uint64_t before = tokens_;
    tokens_ = std::min(tokens_, std::max<std::uint64_t>(tokens, 1));
    if (level_ < 0) level_ = -((-level_ + before - 1) / before * tokens_);
    full_ = std::min(full_, Amount{std::clamp<std::uint64_t>(burst, 1, kMost)} * period_ms_);
    level_ = std::min(level_, full_);
  }

  // Likewise of a bucket that is absent where there is no limit; kUnlimited tokens say nothing.
  static constexpr std::uint64_t kUnlimited = UINT64_MAX;
  static void narrow(std::optional<TokenBucket>& bucket, std::uint64_t now_ms, std::uint64_t tokens,
                     std::uint64_t period_ms, std::uint64_t burst) {
    if (tokens == kUnlimited) return;
    if (!bucket) bucket.emplace(tokens, period_ms, burst);
    bucket->narrow(now_ms, tokens, burst);
  }

  // Of those that were taken: they were not used.
  void give_back(std::uint64_t count) { level_ = std::min(full_, level_ + Amount{count} * period_ms_); }

 private:
  // In tokens per period_ms: whole numbers, nothing is lost to rounding.
  using Amount = __int128;
  static constexpr std::uint64_t kMost = std::uint64_t{1} << 62;

  void refill(std::uint64_t now_ms) {
    if (now_ms <= last_ms_) return;
    level_ = std::min(full_, level_ + Amount{now_ms - last_ms_} * tokens_);
    last_ms_ = now_ms;
  }

  std::uint64_t tokens_;
  std::uint64_t period_ms_;
  Amount full_;
  Amount level_;  // below zero: handed out in advance
  std::uint64_t last_ms_ = 0;
};

}  // namespace weir
