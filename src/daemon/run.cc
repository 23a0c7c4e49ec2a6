// Commands in a session, and programs in a session of their own.
#include "daemon/attached_run.h"
#include "daemon/handlers.h"
#include "daemon/making.h"
#include "daemon/output.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;
using What = AttachedRun::Happened::What;

// What is kept of one stream of a command.
class Collected {
 public:
  Collected(std::uint64_t most, Budget& memory) : most_(most), share_(memory) {}

  void take(std::string_view bytes) {
    const std::size_t kept = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), most_ - text_.size()));
    if (kept < bytes.size()) truncated_ = true;
    if (kept == 0) return;
    if (!share_.grow(kept)) {
      // Too much is being collected at once: what is more is dropped, and said so.
      truncated_ = true;
      most_ = text_.size();
      return;
    }
    text_.append(bytes.substr(0, kept));
  }
  const std::string& text() const { return text_; }
  bool truncated() const { return truncated_; }

 private:
  std::uint64_t most_;
  Budget::Share share_;
  std::string text_;
  bool truncated_ = false;
};

Task<Outcome> collect(Daemon& daemon, AttachedRun run, std::uint64_t most) {
  Collected out(most, daemon.memory);
  Collected err(most, daemon.memory);
  while (true) {
    auto happened = co_await run.next();
    switch (happened.what) {
      case What::out:
        out.take(happened.bytes);
        break;
      case What::err:
        err.take(happened.bytes);
        break;
      case What::exited: {
        std::string json = object_without_end(happened.exited);
        append_output(json, "stdout", out.text(), Exactness::both);
        append_output(json, "stderr", err.text(), Exactness::both);
        json += std::string(",\"truncated\":") + (out.truncated() || err.truncated() ? "true" : "false") + "}";
        co_return json_reply(200, std::move(json));
      }
      case What::gone:
        co_return nobody_there();
      case What::failed:
        co_return std::unexpected(std::move(happened.refusal));
    }
  }
}

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
  auto collected = co_await collect(call.daemon, std::move(*run), wanted.max_output);
  co_return collected;
}

}  // namespace weir::daemon
