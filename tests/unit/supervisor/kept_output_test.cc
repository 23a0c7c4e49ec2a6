#include "supervisor/session/kept_output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

namespace weir::supervisor {
namespace {

class Kept : public testing::Test {
 protected:
  Kept() {
    std::string pattern = std::string(std::filesystem::temp_directory_path()) + "/weir-kept-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
    folder_ = sys::OwnedFd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~Kept() override { std::filesystem::remove_all(path_); }

  std::unique_ptr<KeptOutput> made(const std::string& name, std::function<void()> on_grown) {
    auto output = KeptOutput::create(*reactor_, folder_, name, std::move(on_grown), budget_);
    EXPECT_TRUE(output) << output.error().what();
    return std::move(*output);
  }

  Result<sys::Reactor> reactor_ = sys::Reactor::create();
  KeptOutput::Budget budget_ = {.left = 10};
  std::string path_;
  sys::OwnedFd folder_;
};

// Whichever comes first in a round of events takes the other along, for which there is an event as well.
TEST_F(Kept, MayGoInTheRoundThatHasAnEventForIt) {
  std::unique_ptr<KeptOutput> one;
  std::unique_ptr<KeptOutput> other;
  int grown = 0;
  one = made("1.out", [&] {
    ++grown;
    other.reset();
  });
  other = made("2.out", [&] {
    ++grown;
    one.reset();
  });
  const sys::OwnedFd first = one->take_writer();
  const sys::OwnedFd second = other->take_writer();
  ASSERT_EQ(::write(first.get(), "x", 1), 1);
  ASSERT_EQ(::write(second.get(), "x", 1), 1);
  reactor_->at(sys::monotonic_ms(), [&] { reactor_->stop(); });
  ASSERT_TRUE(reactor_->run());
  EXPECT_EQ(grown, 1);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path_), {}), 1);
}

TEST_F(Kept, TogetherKeepNoMoreThanTheirBudget) {
  const auto one = made("1.out", [] {});
  auto other = made("2.out", [] {});
  ASSERT_EQ(::write(one->take_writer().get(), "123456", 6), 6);
  one->drain();
  ASSERT_EQ(::write(other->take_writer().get(), "123456", 6), 6);
  other->drain();
  EXPECT_EQ(one->bytes(), 6u);
  EXPECT_FALSE(one->truncated());
  EXPECT_EQ(other->bytes(), 4u);
  EXPECT_TRUE(other->truncated());
  EXPECT_EQ(budget_.left, 0u);
  other.reset();
  EXPECT_EQ(budget_.left, 4u);
}

}  // namespace
}  // namespace weir::supervisor
