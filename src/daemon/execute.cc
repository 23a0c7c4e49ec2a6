// Programs in a session of their own: made, filled, run, removed.
#include "base/failure_line.h"
#include "base/json_document.h"
#include "daemon/attached_run.h"
#include "daemon/collected_run.h"
#include "daemon/handlers.h"
#include "daemon/making.h"
#include "daemon/pipes.h"
#include "languages/language.h"
#include "sys/files.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

constexpr const char* kFolder = "/tmp/execute";
// Where the daemon dies in between, the session ends by itself.
constexpr std::uint64_t kDefaultSeconds = 3600;
constexpr std::uint64_t kSpareSeconds = 120;

Task<wire::Answer<>> put(Daemon& daemon, std::string session, const Principal& who, std::string path,
                         std::string_view content) {
  auto call = co_await SessionCall::open(daemon, std::move(session), who);
  WEIR_CO_CHECK(call);
  WEIR_CO_CHECK(call->send(wire::FileRequest{.what = wire::FileRequest::Do::put, .path = std::move(path)}));
  auto reply = co_await call->receive(in_seconds(SessionCall::kPatience));
  WEIR_CO_CHECK(reply);
  // Anything else could make this process wait for whoever is inside.
  if (reply->passed.size() != 1 || !is_regular_file(reply->passed[0].get())) {
    co_return refuse(ErrorCode::internal, "the session passes no file");
  }
  const auto written = sys::write_whole(reply->passed[0], "the file", as_bytes(content));
  if (!written) co_return refuse(ErrorCode::limit, written.error());
  WEIR_CO_CHECK(call->send_line(wire::kCommitLine));
  const auto done = co_await call->receive(in_seconds(SessionCall::kPatience));
  WEIR_CO_CHECK(done);
  co_return wire::Answer<>();
}

// Whether the interpreter or compiler is what was not there.
bool is_missing(const languages::Language& language, const Reply& reply) {
  const auto result = parse_json(reply.body);
  if (!result) return false;
  const Json* const code = json_member(*result, "exit_code");
  const Json* const said = json_member(*result, "stderr");
  if (code == nullptr || *code != 127) return false;
  return json_member(*result, "not_executed") != nullptr ||
         (said != nullptr && said->get<std::string>().starts_with(failure_line(languages::missing(language))));
}

Task<Outcome> run_code(Call& call, std::string session, ExecuteBody body, const languages::Language& language) {
  const std::string path = std::string(kFolder) + "/" + std::string(language.file_name);
  const auto code = co_await put(call.daemon, session, call.who, path, body.code);
  WEIR_CO_CHECK(code);
  for (const auto& [name, content] : body.files) {
    const auto file = co_await put(call.daemon, session, call.who, std::string(kFolder) + "/" + name, content);
    WEIR_CO_CHECK(file);
  }
  wire::RunProcess run = std::move(body.run.run);
  run.argv = languages::command(language, path, {});
  run.cwd = kFolder;
  auto started = co_await AttachedRun::start(call.daemon, session, call.who, std::move(run),
                                             std::move(body.run.stdin_text), call.exchange.fd());
  WEIR_CO_CHECK(started);
  auto collected = co_await collect(call, std::move(*started), body.run.max_output);
  WEIR_CO_CHECK(collected);
  if (is_missing(language, *collected)) co_return refuse(ErrorCode::language_unavailable, languages::missing(language));
  co_return collected;
}

Task<> remove(Daemon& daemon, std::string session) {
  auto call = co_await SessionCall::open(daemon, session, machine_owner());
  if (!call || !call->send(wire::StopSession{.kill = true})) co_return;
  // Until it is gone: whoever asks again must find the room that this one took.
  while (true) {
    const auto reply = co_await call->receive(in_seconds(SessionCall::kPatience));
    if (!reply) break;
  }
  daemon.store.disown(Owned::session, session);
}

}  // namespace

Task<Outcome> execute_once(Call& call, std::string body) {
  WEIR_CO_TRY(ExecuteBody wanted, parse_execute(body, call.who));
  body = {};
  const languages::Language* const language = languages::by_name(wanted.language);
  if (language == nullptr) co_return refuse(ErrorCode::bad_request, languages::unknown(wanted.language));
  const std::uint64_t timeout = wanted.run.run.timeout_ms;
  const std::uint64_t seconds = timeout == 0 ? kDefaultSeconds : timeout / 1000 + kSpareSeconds;
  wanted.create.words.push_back("--ttl=" + std::to_string(seconds) + "s");
  auto session = co_await make_session(call.daemon, std::move(wanted.create), call.who);
  WEIR_CO_CHECK(session);
  const std::string id = session->id;
  auto outcome = co_await run_code(call, id, std::move(wanted), *language);
  co_await remove(call.daemon, id);
  co_return outcome;
}

}  // namespace weir::daemon
