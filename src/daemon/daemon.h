// What all requests share.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/asio.h"
#include "daemon/budget.h"
#include "daemon/exchange.h"
#include "daemon/guests.h"
#include "daemon/metrics.h"
#include "daemon/principal.h"
#include "daemon/route.h"
#include "daemon/store.h"
#include "daemon/turnstile.h"
#include "session/registry.h"

namespace weir::daemon {

struct Limits {
  std::size_t connections = 512;
  std::size_t sessions = 4096;  // of all together, asleep ones included
  std::size_t sessions_per_token = 256;
  // `weir` commands that run at a time: those of a moment, and those that move archives.
  Turnstile::Room children = {.places = 16, .per_owner = 8, .waiting = 64, .seconds = 10};
  Turnstile::Room transfers = {.places = 8, .per_owner = 2, .waiting = 8, .seconds = 2};
  std::uint64_t put_bytes = 16ull << 30;       // of one file or archive
  std::uint64_t disk_per_token = 16ull << 30;  // 0: any
  std::size_t memory_bytes = 256u << 20;       // bodies and collected output, of all requests together
};

struct Daemon {
  Limits limits;
  std::string weir;    // the program
  std::string folder;  // an empty one, in which commands start: no name is a file there
  std::string spool;   // one for archives that are being imported
  std::vector<std::string> environment;
  session::Registry registry;
  Store store;
  Metrics metrics;
  Budget memory;
  Turnstile children;
  Turnstile transfers;
  Executor executor;
  // What is being made now, by its id, and for whom (owner_key()).
  std::map<std::string, std::string, std::less<>> making = {};
  // Bytes of archives that are being imported, by owner_key().
  std::map<std::string, std::uint64_t, std::less<>> spooled = {};
  Guests guests = {};
  bool ending = false;  // nothing new is taken
};

// One request on its way through its handler.
struct Call {
  Daemon& daemon;
  Exchange& exchange;
  const Route& route;
  const Target& target;
  const Principal& who;

  const std::string& parameter(std::size_t at) const { return route.parameters.at(at); }
};

using Outcome = wire::Answer<Reply>;

// Inside a coroutine, what WEIR_TRY is elsewhere.
#define WEIR_CO_TRY(declaration, expression) WEIR_CO_TRY_AS(WEIR_CONCAT(weir_try_, __LINE__), declaration, expression)
#define WEIR_CO_TRY_AS(temporary, declaration, expression)                 \
  auto temporary = expression;                                             \
  if (!temporary) co_return std::unexpected(std::move(temporary).error()); \
  declaration = std::move(*temporary)
#define WEIR_CO_CHECK(expression)                                     \
  do {                                                                \
    auto&& weir_status = expression;                                  \
    if (!weir_status) co_return std::unexpected(weir_status.error()); \
  } while (false)

// An error of this machine, not of the caller.
inline std::unexpected<wire::Refusal> internal(const Error& error) {
  return wire::refuse(wire::ErrorCode::internal, error);
}

// What was told to somebody who is not there any more; nothing to be remembered.
inline std::unexpected<wire::Refusal> nobody_there() {
  return wire::refuse(wire::ErrorCode::unavailable, "the caller has gone");
}

}  // namespace weir::daemon
