// Memory that requests hold together: bodies that are read whole, output that is collected.
#pragma once

#include <cstddef>
#include <utility>

namespace weir::daemon {

class Budget {
 public:
  explicit Budget(std::size_t bytes) : left_(bytes) {}

  // Gives back what it holds when it dies; does not outlive its Budget.
  class Share {
   public:
    explicit Share(Budget& budget) : budget_(&budget) {}
    Share(Share&& other) noexcept : budget_(other.budget_), held_(std::exchange(other.held_, 0)) {}
    Share& operator=(Share&&) = delete;
    ~Share() { budget_->left_ += held_; }

    // False: there is not so much left; nothing has changed.
    bool grow(std::size_t bytes) {
      if (bytes > budget_->left_) return false;
      budget_->left_ -= bytes;
      held_ += bytes;
      return true;
    }

   private:
    Budget* budget_;
    std::size_t held_ = 0;
  };

 private:
  std::size_t left_;
};

}  // namespace weir::daemon
