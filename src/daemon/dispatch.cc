#include "daemon/dispatch.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <optional>

#include "base/sha256.h"
#include "daemon/handlers.h"
#include "sys/errno.h"

namespace weir::daemon {

namespace {

using wire::Answer;
using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kMaxKey = 128;

// Refused before it is read: what is said in another form would be misunderstood.
Answer<> check_type(const Row& row, const RequestHead& head) {
  if (row.body != Body::json || head.content_type == "application/json") return {};
  return refuse(ErrorCode::bad_request, "the body is not of the type application/json",
                "send Content-Type: application/json");
}

Answer<> check_key(const std::string& key) {
  const bool fits = key.size() <= kMaxKey && std::ranges::all_of(key, [](char c) {
                      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             std::string_view("_.:-").contains(c);
                    });
  if (fits) return {};
  return refuse(ErrorCode::bad_request, "Idempotency-Key is none",
                "write at most 128 letters, digits, '_', '.', ':' or '-'");
}

struct Handled {
  Endpoint endpoint;
  Handler handler;
};
// In the order of Endpoint.
constexpr std::array kHandlers = {Handled{Endpoint::execute, execute_once},
                                  Handled{Endpoint::session_create, create_session},
                                  Handled{Endpoint::session_list, list_sessions},
                                  Handled{Endpoint::session_show, show_session},
                                  Handled{Endpoint::session_delete, delete_session},
                                  Handled{Endpoint::run, run_in_session},
                                  Handled{Endpoint::process_list, list_processes},
                                  Handled{Endpoint::process_signal, signal_process},
                                  Handled{Endpoint::process_stdin, write_stdin},
                                  Handled{Endpoint::process_output, process_output},
                                  Handled{Endpoint::file_list, list_files},
                                  Handled{Endpoint::file_get, get_file},
                                  Handled{Endpoint::file_put, put_file},
                                  Handled{Endpoint::file_delete, delete_file},
                                  Handled{Endpoint::network, narrow_network},
                                  Handled{Endpoint::events, follow_events},
                                  Handled{Endpoint::shell, open_shell},
                                  Handled{Endpoint::snapshot_create, create_snapshot},
                                  Handled{Endpoint::snapshot_list, list_snapshots},
                                  Handled{Endpoint::snapshot_show, show_snapshot},
                                  Handled{Endpoint::snapshot_delete, delete_snapshot},
                                  Handled{Endpoint::snapshot_export, export_snapshot},
                                  Handled{Endpoint::snapshot_import, import_snapshot},
                                  Handled{Endpoint::image_list, list_images},
                                  Handled{Endpoint::image_show, show_image},
                                  Handled{Endpoint::image_import, import_image},
                                  Handled{Endpoint::image_delete, delete_image},
                                  Handled{Endpoint::service_create, create_session},
                                  Handled{Endpoint::service_list, list_sessions},
                                  Handled{Endpoint::service_show, show_session},
                                  Handled{Endpoint::service_delete, delete_session},
                                  Handled{Endpoint::service_logs, service_logs},
                                  Handled{Endpoint::health, show_health},
                                  Handled{Endpoint::metrics, show_metrics},
                                  Handled{Endpoint::openapi, show_openapi}};
static_assert(kHandlers.size() == static_cast<std::size_t>(Endpoint::openapi) + 1);

constexpr bool in_order() {
  for (std::size_t i = 0; i < kHandlers.size(); ++i) {
    if (static_cast<std::size_t>(kHandlers[i].endpoint) != i) return false;
  }
  return true;
}
static_assert(in_order());

// What a library throws ends here.
Task<Outcome> handle_safely(Call& call, std::string body) {
  try {
    const Handler handler = kHandlers[static_cast<std::size_t>(call.route.row->endpoint)].handler;
    auto outcome = co_await handler(call, std::move(body));
    co_return outcome;
  } catch (const std::exception& thrown) {
    co_return refuse(ErrorCode::internal, std::string("out of something: ") + thrown.what());
  }
}

bool is_worth_keeping(const Reply& reply) {
  return reply.form == Reply::Form::whole && reply.status != 429 && reply.status < 500 &&
         reply.body.size() <= Store::kMaxAnswer;
}

// Once for each Idempotency-Key; every time where there is none.
Task<Outcome> handle_once(Call& call, std::string body) {
  const RequestHead& head = call.exchange.head();
  const std::string key = head.idempotency_key;
  if (key.empty() || head.method != "POST") {
    auto outcome = co_await handle_safely(call, std::move(body));
    co_return outcome;
  }
  WEIR_CO_CHECK(check_key(key));
  const std::string digest = sha256_hex(as_bytes(head.method + '\0' + head.target + '\0' + body));
  auto kept = call.daemon.store.begin(call.who, key, digest, static_cast<std::int64_t>(std::time(nullptr)));
  if (!kept) co_return internal(kept.error());
  switch (kept->state) {
    case Store::Kept::State::answered:
      co_return std::move(kept->reply);
    case Store::Kept::State::running:
      co_return refuse(ErrorCode::conflict, "a request with this Idempotency-Key is being worked on",
                       "ask again when it is answered");
    case Store::Kept::State::mismatch:
      co_return refuse(ErrorCode::idempotency_mismatch, "this Idempotency-Key was used for another request",
                       "use a new key for each request");
    case Store::Kept::State::fresh:
      break;
  }
  auto outcome = co_await handle_safely(call, std::move(body));
  const Reply refused = outcome ? Reply() : error_reply(outcome.error());
  const Reply& reply = outcome ? *outcome : refused;
  // What could not be kept can be asked for again; it may then be done twice, which is said in docs/openapi.yaml.
  if (!is_worth_keeping(reply) || !call.daemon.store.finish(call.who, key, reply)) {
    call.daemon.store.abandon(call.who, key);
  }
  co_return outcome;
}

struct Seen {
  Principal who;
  std::string path;
  std::string_view endpoint = "none";
};

// A refusal here is the answer, too. `seen`: for the record.
Task<Outcome> answer(Daemon& daemon, Exchange& exchange, Access access, Seen& seen) {
  const RequestHead& head = exchange.head();
  WEIR_CO_TRY(const Target target, parse_target(head.target));
  seen.path = target.path;
  seen.who = access.tokens == nullptr ? machine_owner() : access.tokens->find(bearer_token(head.authorization));
  const auto route = find_route(head.method, target.path);
  if (!route && route.error().code == ErrorCode::method_not_allowed) {
    Reply reply = error_reply(route.error());
    reply.headers.emplace_back("Allow", allowed_methods(target.path));
    co_return reply;
  }
  WEIR_CO_CHECK(route);
  const Row& row = *route->row;
  seen.endpoint = name_of(row.endpoint);
  WEIR_CO_CHECK(check_rights(row, seen.who));
  WEIR_CO_CHECK(check_query(row, target));
  if (const auto typed = check_type(row, head); !typed) {
    Reply reply = error_reply(typed.error());
    reply.status = 415;
    co_return reply;
  }
  std::optional<Guests::Stay> stay;
  if (access.tokens != nullptr) {
    sys::OwnedFd connection(::fcntl(exchange.fd(), F_DUPFD_CLOEXEC, 0));
    if (!connection.valid()) co_return internal(sys::errno_error("cannot note a request").error());
    stay.emplace(daemon.guests, Guest{.digest = Tokens::digest_of(bearer_token(head.authorization)),
                                      .who = seen.who,
                                      .connection = std::move(connection)});
  }
  Budget::Share share(daemon.memory, owner_key(seen.who));
  std::string body;
  if (row.body == Body::json || row.body == Body::bytes) {
    auto whole = co_await exchange.whole_body(body_limit(row.endpoint), share);
    WEIR_CO_CHECK(whole);
    body = std::move(*whole);
  }
  Call call{.daemon = daemon, .exchange = exchange, .route = *route, .target = target, .who = seen.who};
  auto outcome = co_await handle_once(call, std::move(body));
  co_return outcome;
}

// False: nothing can follow on this connection.
Task<bool> answer_one(Daemon& daemon, RequestLog& log, Exchange& exchange, Access access) {
  const Deadline began = Clock::now();
  const std::uint64_t before = exchange.bytes_sent();
  Seen seen;
  ++daemon.metrics.requests_running;
  auto outcome = co_await answer(daemon, exchange, access, seen);
  bool whole = true;
  unsigned status = 0;
  if (exchange.has_begun()) {
    // After a failure in its middle the end of the answer is missing, which the peer sees.
    whole = outcome.has_value();
    status = outcome ? outcome->status : 0;
  } else {
    const Reply reply = outcome ? std::move(*outcome) : error_reply(outcome.error());
    status = reply.status;
    whole = co_await exchange.send(reply);
  }
  --daemon.metrics.requests_running;
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  const std::uint64_t bytes = exchange.bytes_sent() - before;
  daemon.metrics.count(seen.endpoint, status, seconds);
  daemon.metrics.bytes_sent += bytes;
  log.write({.who = seen.who.is_owner() ? "owner" : seen.who.name,
             .method = exchange.head().method,
             .path = seen.path,
             .endpoint = seen.endpoint,
             .status = status,
             .seconds = seconds,
             .bytes = bytes});
  co_return whole&& exchange.can_go_on() && !daemon.ending;
}

}  // namespace

Task<> serve_connection(Daemon& daemon, RequestLog& log, Access access, sys::OwnedFd socket) {
  Exchange exchange(daemon.executor, std::move(socket));
  bool more = true;
  while (more) {
    const auto asked = co_await exchange.read_head();
    if (!asked) {
      // Nothing is known of it but that it is wrong.
      const bool told = co_await exchange.send(error_reply(asked.error()));
      static_cast<void>(told);
      daemon.metrics.count("none", status_of(asked.error().code), 0);
    }
    if (!asked || !*asked) break;
    more = co_await answer_one(daemon, log, exchange, access);
  }
  co_await exchange.close();
}

}  // namespace weir::daemon
