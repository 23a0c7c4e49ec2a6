// Memory that requests hold together: bodies that are read whole, output that is collected, answers on their way.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "daemon/principal.h"

namespace weir::daemon {

class Budget {
 public:
  // One owner has at most this part of it; the machine's owner may have all.
  static constexpr std::size_t kParts = 4;

  explicit Budget(std::size_t bytes) : left_(bytes), most_(bytes / kParts) {}

  // Gives back what it holds when it dies; does not outlive its Budget.
  class Share {
   public:
    // `owner`: as owner_key() says.
    Share(Budget& budget, std::string owner) : budget_(&budget), owner_(std::move(owner)) {}
    Share(Share&& other) noexcept
        : budget_(other.budget_), owner_(std::move(other.owner_)), held_(std::exchange(other.held_, 0)) {}
    Share& operator=(Share&&) = delete;
    ~Share() {
      if (held_ != 0) budget_->give_back(owner_, held_);
    }

    // False: there is not so much left; nothing has changed.
    bool grow(std::size_t bytes) {
      if (!budget_->take(owner_, bytes)) return false;
      held_ += bytes;
      return true;
    }

   private:
    Budget* budget_;
    std::string owner_;
    std::size_t held_ = 0;
  };

 private:
  bool take(const std::string& owner, std::size_t bytes) {
    const auto found = held_.find(owner);
    const std::size_t own = found == held_.end() ? 0 : found->second;
    const bool may = owner == kMachineOwnerKey || (own <= most_ && bytes <= most_ - own);
    if (bytes > left_ || !may) return false;
    left_ -= bytes;
    if (bytes != 0) held_[owner] += bytes;
    return true;
  }
  void give_back(const std::string& owner, std::size_t bytes) {
    left_ += bytes;
    const auto held = held_.find(owner);
    if ((held->second -= bytes) == 0) held_.erase(held);
  }

  std::size_t left_;
  std::size_t most_;
  std::map<std::string, std::size_t> held_ = {};
};

}  // namespace weir::daemon
