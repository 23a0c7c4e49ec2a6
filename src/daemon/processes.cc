// Detached commands of a session: listed, signalled, fed, and what they have printed.
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "daemon/handlers.h"
#include "daemon/output.h"
#include "daemon/pipes.h"
#include "daemon/session_call.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kMaxOutput = 8u << 20;
constexpr std::size_t kPiece = 65536;

std::unexpected<wire::Refusal> nonsense() {
  return refuse(ErrorCode::internal, "the session says something else than what was asked");
}

// The route has made sure that it is a number.
std::uint32_t pid_of(const Call& call) {
  const std::string& text = call.parameter(1);
  std::uint32_t pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  return pid;
}

// The two files of a detached command, read from where the last reading ended.
class OutputFiles {
 public:
  static wire::Answer<OutputFiles> of(SessionReply& reply) {
    if (reply.passed.size() != 2 || !is_regular_file(reply.passed[0].get()) ||
        !is_regular_file(reply.passed[1].get())) {
      return nonsense();
    }
    OutputFiles files;
    files.files_ = {std::move(reply.passed[0]), std::move(reply.passed[1])};
    return files;
  }

  // Empty: there is nothing more yet.
  std::string_view next(std::size_t which) {
    buffer_.resize(kPiece);
    const ssize_t count = ::pread(files_[which].get(), buffer_.data(), buffer_.size(), static_cast<off_t>(at_[which]));
    if (count <= 0) return {};
    at_[which] += static_cast<std::uint64_t>(count);
    return std::string_view(buffer_).substr(0, static_cast<std::size_t>(count));
  }
  std::uint64_t read_so_far(std::size_t which) const { return at_[which]; }

 private:
  std::array<sys::OwnedFd, 2> files_;
  std::array<std::uint64_t, 2> at_{};
  std::string buffer_;
};

Task<Outcome> collect(Call& call, OutputFiles files, wire::OutputInfo info) {
  CollectedOutput output{.truncated = info.truncated,
                         .memory = std::make_shared<Budget::Share>(call.daemon.memory, owner_key(call.who))};
  std::array<std::string, 2>& texts = output.texts;
  for (std::size_t which = 0; which < texts.size(); ++which) {
    while (true) {
      const std::string_view piece = files.next(which);
      if (piece.empty()) break;
      co_await asio::post(asio::use_awaitable);
      if (texts[which].size() + piece.size() > kMaxOutput || !output.memory->grow(piece.size())) {
        output.truncated = true;
        break;
      }
      texts[which] += piece;
    }
  }
  std::string json = "{\"stdout_bytes\":" + std::to_string(info.stdout_bytes) +
                     ",\"stderr_bytes\":" + std::to_string(info.stderr_bytes);
  if (info.exited) json += ",\"exited\":" + object_without_end(*info.exited) + "}";
  co_return collected_reply(json, std::move(output));
}

// All that is there now. False: the client has gone.
Task<bool> pass_on(EventStream& events, OutputFiles& files) {
  bool more = true;
  while (more) {
    more = false;
    for (std::size_t which = 0; which < 2; ++which) {
      const std::string_view piece = files.next(which);
      if (piece.empty()) continue;
      more = true;
      auto passing = which == 0 ? events.out(piece) : events.err(piece);
      const bool taken = co_await std::move(passing);
      if (!taken) co_return false;
    }
  }
  co_return true;
}

// What the session says next; nothing where the client has gone.
Task<std::optional<wire::Answer<SessionReply>>> next_of(SessionCall& session, Watch& watch) {
  constexpr int kClient = 1;
  while (true) {
    if (auto reply = session.next()) co_return std::move(*reply);
    const Watch::Ready ready = co_await watch.wait(kNever);
    if (ready.late || ready.has(kClient)) co_return std::nullopt;
    if (const auto read = session.read(); !read) co_return wire::Answer<SessionReply>(std::unexpected(read.error()));
  }
}

Task<Outcome> follow(Call& call, SessionCall session, OutputFiles files, wire::OutputInfo info) {
  auto watch = Watch::create(call.daemon.executor);
  if (!watch || !watch->add(session.fd(), EPOLLIN, 0) || !watch->add(call.exchange.fd(), EPOLLRDHUP, 1)) {
    co_return refuse(ErrorCode::internal, "cannot watch what a command prints");
  }
  EventStream events(call.exchange);
  bool taken = co_await events.begin(0);
  while (taken) {
    taken = co_await pass_on(events, files);
    if (!taken) break;
    if (info.exited) {
      taken = co_await events.end(*info.exited);
      if (taken) co_return streamed(200);
      break;
    }
    auto reply = co_await next_of(session, *watch);
    if (!reply) break;
    const auto* const more = *reply ? (*reply)->as<wire::OutputInfo>() : nullptr;
    if (more == nullptr) {
      taken = co_await events.fail(*reply ? nonsense().error() : reply->error());
      if (taken) co_return streamed(200);
      break;
    }
    info = *more;
  }
  co_return nobody_there();
}

Task<Outcome> output_of(Call& call, std::uint32_t pid) {
  const bool follows = is_on(call.target, "follow");
  auto session = co_await SessionCall::open(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(session);
  WEIR_CO_CHECK(session->send(wire::ReadOutput{.pid = pid, .follow = follows}));
  auto reply = co_await session->receive(in_seconds(SessionCall::kPatience));
  WEIR_CO_CHECK(reply);
  const auto* const said = reply->as<wire::OutputInfo>();
  if (said == nullptr) co_return nonsense();
  const wire::OutputInfo info = *said;
  auto files = OutputFiles::of(*reply);
  WEIR_CO_CHECK(files);
  if (follows) {
    auto followed = co_await follow(call, std::move(*session), std::move(*files), info);
    co_return followed;
  }
  auto collected = co_await collect(call, std::move(*files), info);
  co_return collected;
}

}  // namespace

Task<Outcome> list_processes(Call& call, std::string) {
  const auto found = find_session(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(found);
  // Nothing runs in one that is asleep, and nobody is woken to say so.
  if (found->info.state == session::kAsleep) co_return json_reply(200, "{\"processes\":[]}");
  auto reply = co_await ask_session(call.daemon, call.parameter(0), call.who, wire::ListProcesses{});
  WEIR_CO_CHECK(reply);
  if (reply->as<wire::ProcessList>() == nullptr) co_return nonsense();
  co_return json_reply(200, reply->text);
}

Task<Outcome> signal_process(Call& call, std::string body) {
  WEIR_CO_TRY(const int number, parse_signal(body));
  auto reply = co_await ask_session(call.daemon, call.parameter(0), call.who,
                                    wire::SignalProcess{.pid = pid_of(call), .signal = number});
  WEIR_CO_CHECK(reply);
  co_return no_content();
}

Task<Outcome> write_stdin(Call& call, std::string body) {
  const std::uint32_t pid = pid_of(call);
  const bool closes = is_on(call.target, "close");
  // With nothing to write and nothing to close it still says whether there is such a process.
  if (!body.empty() || !closes) {
    auto reply = co_await ask_session(call.daemon, call.parameter(0), call.who, wire::FeedProcess{.pid = pid});
    WEIR_CO_CHECK(reply);
    if (reply->passed.size() != 1) co_return nonsense();
    auto pipe = ForeignPipe::take(std::move(reply->passed[0]));
    if (!pipe) co_return internal(pipe.error());
    auto written = co_await write_all(call.daemon.executor, *pipe, body);
    WEIR_CO_CHECK(written);
  }
  if (closes) {
    auto reply =
        co_await ask_session(call.daemon, call.parameter(0), call.who, wire::FeedProcess{.pid = pid, .close = true});
    WEIR_CO_CHECK(reply);
  }
  co_return json_reply(200, "{\"written\":" + std::to_string(body.size()) + "}");
}

Task<Outcome> process_output(Call& call, std::string) {
  auto output = co_await output_of(call, pid_of(call));
  co_return output;
}

Task<Outcome> service_logs(Call& call, std::string) {
  auto session = co_await look_at_session(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(session);
  if (!session->service) {
    co_return refuse(ErrorCode::not_found, "there is no service " + call.parameter(0));
  }
  const auto pid = static_cast<std::uint32_t>(session->service->pid);
  if (pid == 0) co_return refuse(ErrorCode::gone, "the service has no process", "look at its restarts");
  auto output = co_await output_of(call, pid);
  co_return output;
}

}  // namespace weir::daemon
