// What of Boost.Asio the daemon uses: a loop, coroutines, waiting for descriptors and times. Bytes are moved by the
// daemon itself, on descriptors that it owns.
//
// Rules: `co_await` stands alone in a statement; coroutines are functions with parameters by value (or references to
// what outlives them), never capturing lambdas; no WEIR_TRY inside (it returns).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>

namespace weir::daemon {

namespace asio = boost::asio;

using Executor = asio::any_io_executor;
template <class T = void>
using Task = asio::awaitable<T>;
using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;
inline constexpr Deadline kNever = Deadline::max();
inline Deadline in_seconds(unsigned seconds) {
  return Clock::now() + std::chrono::seconds(seconds);
}

// Results as values: nothing throws through a coroutine.
inline constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

}  // namespace weir::daemon
