#include "gateway/resolver/question_limits.h"

#include <algorithm>

namespace weir::gateway {

namespace {

using policy::Limit;

// policy.md section 7: 600 a minute, 60 of them below wildcards.
constexpr std::uint64_t kGuestShare = 10;
constexpr std::uint64_t kSecondMs = 1000;

}  // namespace

void QuestionLimits::narrow(const policy::Limits& limits, std::uint64_t now_ms) {
  const std::uint64_t questions = limits[Limit::dns_queries_per_second];
  const std::uint64_t names = limits[Limit::dns_names_per_minute];
  TokenBucket::narrow(questions_, now_ms, questions, kSecondMs, TokenBucket::twice(questions));
  if (names == policy::Limits::kUnlimited) return;
  const std::uint64_t share = std::max<std::uint64_t>(names / kGuestShare, 1);
  TokenBucket::narrow(names_, now_ms, names, kMinuteMs, names);
  TokenBucket::narrow(guest_names_, now_ms, share, kMinuteMs, share);
}

std::optional<std::uint64_t> QuestionLimits::name(const net::DomainName& name, policy::NameChoice choice,
                                                  std::uint64_t now_ms) {
  if (!names_) return 0;
  forget(now_ms);
  if (const auto known = due_.find(name.text()); known != due_.end()) return std::max(known->second, now_ms) - now_ms;
  auto wait = names_->take(now_ms, 1, kPatienceMs);
  if (wait && choice == policy::NameChoice::guest) {
    const auto longer = guest_names_->take(now_ms, 1, kPatienceMs);
    if (!longer) names_->give_back(1);
    wait = longer ? std::optional(std::max(*wait, *longer)) : std::nullopt;
  }
  if (!wait) return std::nullopt;
  due_[name.text()] = now_ms + *wait;
  order_.emplace_back(now_ms, name.text());
  return wait;
}

void QuestionLimits::forget(std::uint64_t now_ms) {
  while (!order_.empty() && (order_.front().first + kMinuteMs <= now_ms || order_.size() > kMaxRemembered)) {
    due_.erase(order_.front().second);
    order_.pop_front();
  }
}

}  // namespace weir::gateway
