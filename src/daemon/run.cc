// Commands in a session.
#include "daemon/attached_run.h"
#include "daemon/collected_run.h"
#include "daemon/handlers.h"
#include "daemon/output.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;
using What = AttachedRun::Happened::What;

Task<Outcome> stream(Exchange& exchange, AttachedRun run) {
  EventStream events(exchange);
  bool taken = co_await events.begin(run.pid());
  while (taken) {
    auto happened = co_await run.next();
    switch (happened.what) {
      case What::out:
        taken = co_await events.out(happened.bytes);
        break;
      case What::err:
        taken = co_await events.err(happened.bytes);
        break;
      case What::exited:
        taken = co_await events.end(happened.exited);
        if (taken) co_return streamed(200);
        break;
      case What::gone:
        taken = false;
        break;
      case What::failed:
        taken = co_await events.fail(happened.refusal);
        if (taken) co_return streamed(200);
        break;
    }
  }
  co_return nobody_there();
}

Task<Outcome> detach(Call& call, wire::RunProcess run) {
  auto reply = co_await ask_session(call.daemon, call.parameter(0), call.who, std::move(run));
  WEIR_CO_CHECK(reply);
  const auto* const started = reply->as<wire::StartedProcess>();
  if (started == nullptr) co_return refuse(ErrorCode::internal, "the session says something else than what it started");
  co_return json_reply(201, "{\"pid\":" + std::to_string(started->pid) + "}");
}

}  // namespace

Task<Outcome> run_in_session(Call& call, std::string body) {
  WEIR_CO_TRY(RunBody wanted, parse_run(body));
  body = {};
  if (wanted.run.detach) {
    auto detached = co_await detach(call, std::move(wanted.run));
    co_return detached;
  }
  auto run = co_await AttachedRun::start(call.daemon, call.parameter(0), call.who, std::move(wanted.run),
                                         std::move(wanted.stdin_text), call.exchange.fd());
  WEIR_CO_CHECK(run);
  if (wanted.stream) {
    auto streamed_run = co_await stream(call.exchange, std::move(*run));
    co_return streamed_run;
  }
  auto collected = co_await collect(call, std::move(*run), wanted.max_output);
  co_return collected;
}

}  // namespace weir::daemon
