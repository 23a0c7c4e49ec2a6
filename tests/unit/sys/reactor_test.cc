#include "sys/reactor.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

namespace weir::sys {
namespace {

TEST(Reactor, ATimerThatSetsItselfAnewDoesNotStarveDescriptors) {
  Reactor reactor = *Reactor::create();
  const OwnedFd ready(::eventfd(1, EFD_CLOEXEC));
  bool served = false;
  CallbackHandler handler([&](std::uint32_t) {
    served = true;
    reactor.stop();
  });
  unsigned fired = 0;
  std::function<void()> again = [&] {
    // Armed only once the timers run, so that the descriptor can be served only in a later round.
    if (++fired == 1) ASSERT_TRUE(reactor.watch(ready.get(), EPOLLIN, handler).has_value());
    if (fired > 1000) return reactor.stop();
    reactor.at(reactor.now_ms(), again);
  };
  reactor.at(reactor.now_ms(), again);
  ASSERT_TRUE(reactor.run().has_value());
  EXPECT_TRUE(served);
  EXPECT_LT(fired, 10u);
}

TEST(Reactor, FiresInOrderOfDeadlinesAndNotWhatWasCancelled) {
  Reactor reactor = *Reactor::create();
  std::vector<int> fired;
  const std::uint64_t now = monotonic_ms();
  reactor.at(now + 2, [&] {
    fired.push_back(2);
    reactor.stop();
  });
  reactor.at(now + 1, [&] { fired.push_back(1); });
  reactor.cancel(reactor.at(now, [&] { fired.push_back(0); }));
  ASSERT_TRUE(reactor.run().has_value());
  EXPECT_EQ(fired, (std::vector<int>{1, 2}));
}

TEST(Reactor, TheEndOfARoundIsTakenBackAlsoFromWithin) {
  Reactor reactor = *Reactor::create();
  std::vector<int> ran;
  Reactor::RoundId own = 0;
  own = reactor.after_each_round([&] {
    ran.push_back(1);
    reactor.forget_round(own);
    reactor.after_each_round([&] { ran.push_back(3); });
  });
  const auto other = reactor.after_each_round([&] { ran.push_back(2); });
  const std::uint64_t now = monotonic_ms();
  reactor.at(now, [&] { reactor.at(now, [&] { reactor.stop(); }); });
  ASSERT_TRUE(reactor.run().has_value());
  EXPECT_EQ(ran, (std::vector<int>{1, 2, 3, 2, 3}));
  reactor.forget_round(other);
  ran.clear();
  reactor.at(now, [&] { reactor.stop(); });
  ASSERT_TRUE(reactor.run().has_value());
  EXPECT_EQ(ran, std::vector<int>{3});
}

TEST(Reactor, ForgettingWhatIsNotWatchedIsHarmless) {
  Reactor reactor = *Reactor::create();
  const OwnedFd fd(::eventfd(0, EFD_CLOEXEC));
  reactor.forget(fd.get());
  reactor.forget(-1);
}

}  // namespace
}  // namespace weir::sys
