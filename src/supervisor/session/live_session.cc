#include "supervisor/session/live_session.h"

#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/quantity.h"
#include "policy/text/compile.h"
#include "supervisor/session/life_events.h"

namespace weir::supervisor {

namespace {

using wire::ErrorCode;

// Who woke a session is about to connect to it.
constexpr std::uint64_t kOnTheWayMs = 5000;

// Of trying to fall asleep again: each time everything inside stands still, and what was written is read.
constexpr std::uint64_t kLeastPutOffMs = 1000;
constexpr std::uint64_t kMostPutOffMs = 3'600'000;

std::string wall_time(std::uint64_t seconds) {
  return audit::rfc3339({.seconds = static_cast<std::int64_t>(seconds), .microseconds = 0});
}

// As sys::BootTimer counts.
std::uint64_t boot_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

// As -p takes it: of TCP nothing is said.
std::string port_text(const policy::Publish& publish) {
  std::string text = policy::publish_text(publish);
  if (publish.protocol == net::Protocol::tcp) text.resize(text.rfind('/'));
  return text;
}

// The connection stays for as long as something else takes.
bool is_held(const wire::SessionRequest& request) {
  if (const auto* run = std::get_if<wire::RunProcess>(&request)) return !run->detach;
  if (const auto* output = std::get_if<wire::ReadOutput>(&request)) return output->follow;
  return std::holds_alternative<wire::FileRequest>(request);
}

// Who only looks neither keeps a session awake nor stands in the way of its sleep.
bool is_a_look(std::uint64_t number, const std::string& line) {
  const auto request = wire::parse_session_request(line);
  return number == 1 && request && std::holds_alternative<wire::ShowSession>(*request);
}

// The codes of --control are older than those of sessions.
wire::SessionReply session_reply_of(const wire::ControlReply& reply) {
  if (!reply.refused) {
    return wire::Narrowed{
        .generation = reply.generation, .policy = reply.policy, .cut = reply.cut, .warnings = reply.warnings};
  }
  const std::string& code = reply.refused->code;
  ErrorCode known = ErrorCode::internal;
  if (code == "cannot_widen") known = ErrorCode::cannot_widen;
  if (code == "invalid_policy") known = ErrorCode::bad_policy;
  if (code == "nothing_to_enter") known = ErrorCode::conflict;
  return wire::Refusal{.code = known, .message = reply.refused->message, .remedy = reply.refused->remedy};
}

// A socket of this machine hands on whatever descriptors its other end, which a wider run may have, puts into it.
Result<> check_apart(const std::vector<sys::OwnedFd>& passed) {
  for (const sys::OwnedFd& fd : passed) {
    int domain = 0;
    socklen_t size = sizeof domain;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) continue;
    return std::unexpected(
        Error("a unix socket is no standard descriptor of a run with a network of its own: descriptors come through it",
              EINVAL)
            .with_remedy("pass pipes or files; in a shell: cat | weir session run ... | cat"));
  }
  return {};
}

}  // namespace

LiveSession::LiveSession(const SessionOptions& options, const session::OwnFolder& folder,
                         std::vector<PublishedPort> ports, sys::Reactor& reactor, AuditLog& log,
                         Result<sandbox::Sandbox> sandbox)
    : options_(options),
      folder_(folder),
      reactor_(reactor),
      log_(log),
      ports_text_([&] {
        std::vector<std::string> texts;
        for (const PublishedPort& port : ports) texts.push_back(port_text(port.publish));
        return texts;
      }()),
      live_(options.run, std::move(ports), reactor, log, std::move(sandbox)) {}

LiveSession::~LiveSession() = default;

Result<> LiveSession::start() {
  WEIR_TRY(auto signals, sys::SignalWatch::create(reactor_, {SIGINT, SIGTERM, SIGHUP, SIGQUIT}, [this](int signal) {
             if (!live_.has_started()) return live_.end_with(Error("ended by signal " + std::to_string(signal)));
             begin_to_end(ending_ ? Grace::none : Grace::given);
           }));
  signals_.emplace(std::move(signals));
  const auto on_exited = [this](const sandbox::Sandbox::Exited&) {
    live_.end_with(Error("the sandbox ended by itself"));
  };
  WEIR_CHECK_OK(live_.start(*signals_, on_exited));
  if (live_.has_ended()) return fail("the session was ended before it stood");
  WEIR_CHECK_OK(open_socket());
  WEIR_CHECK_OK(start_timers());
  return folder_.write({.info = info(), .expires_at = expires_at_});
}

Result<> LiveSession::open_socket() {
  WEIR_TRY(inside_, live_.sandbox()->serve_inside(reactor_));
  const int copy = ::dup(folder_.fd().get());
  if (copy < 0) return fail("cannot open the session's folder again");
  WEIR_TRY(sys::UnixListener listener, sys::UnixListener::create_in(sys::OwnedFd(copy), session::OwnFolder::kSocket));
  WEIR_TRY(server_, LineServer::serve(reactor_, std::move(listener),
                                      {.max_clients = kMaxClients, .max_line = wire::ControlRequest::kMaxLine}, *this));
  processes_ = std::make_unique<SessionProcesses>(
      SessionProcesses::Ground{.reactor = reactor_,
                               .log = log_,
                               .server = *server_,
                               .inside = *inside_,
                               .folder = folder_.fd(),
                               .env = options_.run.spec.env,
                               .workdir = options_.run.spec.workdir,
                               .grace_ms = static_cast<std::uint64_t>(options_.run.grace.count()),
                               .on_changed = [this] { on_processes_changed(); }});
  files_ = std::make_unique<SessionFiles>(*server_, *inside_);
  WEIR_TRY(snapshots_, SessionSnapshots::prepare(
                           {.reactor = reactor_, .inside = *inside_, .run = options_.run, .name = options_.name},
                           *live_.sandbox()));
  prepare_sleep();
  if (Generations* const generations = live_.generations()) {
    generations->follow_with([this](const policy::Image& now, Network::OnTaken done) {
      if (!narrow_run_) return done(0);
      narrow_run_->follow(now, std::move(done));
    });
  }
  begin_service();
  return {};
}

// Of one that slept the beginning and the end are what they were.
Result<> LiveSession::start_timers() {
  const auto now = static_cast<std::uint64_t>(::time(nullptr));
  created_ = options_.slept ? options_.slept->created : wall_time(now);
  if (options_.ttl) {
    const auto ttl = static_cast<std::uint64_t>(options_.ttl->count());
    expires_at_ = options_.slept ? options_.slept->expires_at : now + (ttl + 999) / 1000;
    WEIR_TRY(ttl_, sys::BootTimer::create(reactor_, [this] { begin_to_end(Grace::given); }));
    WEIR_CHECK_OK(ttl_->set(ttl));
  }
  if (options_.idle) {
    WEIR_TRY(idle_, sys::BootTimer::create(reactor_, [this] { on_idle(); }));
    if (options_.slept) idle_since_ = boot_ms() + kOnTheWayMs;
  }
  look_at_idleness();
  return {};
}

Ending LiveSession::run() {
  if (auto ran = reactor_.run(); !ran) live_.end_with(std::move(ran).error());
  narrow_run_.reset();
  const Ending ending = live_.tear_down([this] { forget_inside(); });
  signals_.reset();
  return ending;
}

Ending LiveSession::give_up(Error error) {
  live_.end_with(std::move(error));
  return live_.tear_down([this] { forget_inside(); });
}

// They refer to the sandbox, which is about to go.
void LiveSession::forget_inside() {
  sleep_.reset();
  held_.clear();
  service_.reset();
  processes_.reset();
  files_.reset();
  snapshots_.reset();
}

void LiveSession::begin_service() {
  if (options_.bootstrap.empty()) return;
  std::vector<net::Port> ports;
  for (const policy::Publish& each : options_.run.publishes) {
    if (each.protocol == net::Protocol::tcp) ports.push_back(each.guest);
  }
  service_ =
      std::make_unique<SessionService>(SessionService::Ground{.reactor = reactor_,
                                                              .processes = *processes_,
                                                              .sockets = live_.guest_sockets(),
                                                              .ports = std::move(ports),
                                                              .may_begin = [this] { return narrow_run_ == nullptr; }},
                                       options_.bootstrap, options_.restart);
  service_->begin();
}

void LiveSession::show(ClientId client) {
  if (!service_) return answer(client, info());
  service_->look([this, client](wire::ServiceInfo found) {
    wire::SessionInfo shown = info();
    shown.service = std::move(found);
    answer(client, shown);
  });
}

wire::SessionInfo LiveSession::info() {
  const sandbox::Limits& limits = options_.run.spec.limits;
  wire::SessionInfo info{.id = folder_.id(),
                         .name = options_.name,
                         .state = std::string(session::kRunning),
                         .created = created_,
                         .expires = expires_at_ == 0 ? "" : wall_time(expires_at_),
                         .labels = options_.labels,
                         .network_mode = options_.run.policy_mode,
                         .policy = options_.run.policy_hash,
                         .ports = ports_text_,
                         .limits = {.memory_bytes = limits.memory_bytes.value_or(0),
                                    .cpu_millis = limits.cpu_millis.value_or(0),
                                    .processes = limits.processes.value_or(0),
                                    .disk_bytes = options_.disk_bytes().value_or(0)},
                         .processes = processes_ ? processes_->living() : 0,
                         .events = log_.path(),
                         .supervisor = static_cast<std::uint64_t>(::getpid())};
  if (options_.idle) {
    info.idle_seconds = static_cast<std::uint64_t>(options_.idle->count()) / 1000;
    info.on_idle = options_.on_idle == SessionOptions::OnIdle::stop ? "stop" : session::kAsksToSleep;
  }
  if (options_.run.spec.image) info.image = options_.run.spec.image->name;
  info.snapshot = options_.run.begun_from.parent;
  if (service_) info.service = service_->info();
  if (processes_) info.usage = {.cpu_ms = processes_->cpu_us() / 1000, .processes = processes_->living()};
  if (const Network* const network = live_.network()) info.usage.flows = network->flows();
  if (sandbox::Sandbox* const sandbox = live_.sandbox()) info.usage.memory_bytes = sandbox->memory_used();
  if (snapshots_) info.usage.disk_bytes = snapshots_->disk_bytes();
  if (const Generations* const generations = live_.generations()) {
    info.generation = generations->confirmed().generation;
    info.policy = generations->confirmed().policy;
  }
  return info;
}

void LiveSession::answer(ClientId client, const wire::SessionReply& reply) {
  server_->finish(client, wire::session_reply_line(reply));
}

void LiveSession::on_line(ClientId client, std::uint64_t number, sys::LineStream::Line line) {
  if (!processes_) return;  // everything ends
  if (sleep_ && sleep_->is_under_way() && !is_a_look(number, line.text)) {
    held_.push_back({client, number, std::move(line)});
    return sleep_->call_off();
  }
  if (files_->take_line(client, line)) return;
  if (number > 1) {
    on_end(client);
    return answer(client, wire::Refusal{.code = ErrorCode::bad_request,
                                        .message = "a second request on one connection",
                                        .remedy = "connect once for each request"});
  }
  auto request = wire::parse_session_request(line.text);
  if (!request) {
    return answer(client, wire::Refusal{.code = ErrorCode::bad_request,
                                        .message = request.error().what(),
                                        .remedy = request.error().remedy()});
  }
  if (ending_ && !std::holds_alternative<wire::StopSession>(*request)) {
    return answer(client, wire::Refusal{.code = ErrorCode::gone, .message = "session " + folder_.id() + " is ending"});
  }
  serve(client, *request, std::move(line.passed));
}

void LiveSession::serve(ClientId client, const wire::SessionRequest& request, std::vector<sys::OwnedFd> passed) {
  if (!passed.empty() && !std::holds_alternative<wire::RunProcess>(request)) {
    return answer(client,
                  wire::Refusal{.code = ErrorCode::bad_request, .message = "no descriptors come with this request"});
  }
  if (is_held(request) && server_->clients() > kMaxClients - kShortPlaces)
    return server_->finish(client, line_of(LineServer::Trouble::too_many));
  if (!std::holds_alternative<wire::ShowSession>(request)) {
    idle_since_.reset();
    put_off_ms_ = 0;
  }
  std::visit(
      [&]<class Request>(const Request& each) {
        if constexpr (std::is_same_v<Request, wire::ShowSession>) {
          show(client);
        } else if constexpr (std::is_same_v<Request, wire::RunProcess>) {
          run_process(client, each, std::move(passed));
        } else if constexpr (std::is_same_v<Request, wire::ListProcesses>) {
          processes_->list(client);
        } else if constexpr (std::is_same_v<Request, wire::SignalProcess>) {
          processes_->signal(client, each);
        } else if constexpr (std::is_same_v<Request, wire::FeedProcess>) {
          processes_->feed(client, each);
        } else if constexpr (std::is_same_v<Request, wire::ReadOutput>) {
          processes_->output(client, each);
        } else if constexpr (std::is_same_v<Request, wire::ResizeTerminal>) {
          processes_->resize(client, each);
        } else if constexpr (std::is_same_v<Request, wire::FileRequest>) {
          if (!SessionFiles::changes_files(each) || !refuse_while_narrow(client)) files_->serve(client, each);
        } else if constexpr (std::is_same_v<Request, wire::ControlRequest>) {
          narrow(client, each);
        } else if constexpr (std::is_same_v<Request, wire::MakeSnapshot>) {
          snapshot(client, each);
        } else {
          stop(client, each);
        }
      },
      request);
}

// What a narrower run was promised would not hold if something wider began beside it, or changed the files below it.
bool LiveSession::refuse_while_narrow(ClientId client) {
  if (!narrow_run_) return false;
  answer(client, wire::Refusal{.code = ErrorCode::conflict,
                               .message = "a run with a network of its own is at work in this session",
                               .remedy = "ask again when it has ended"});
  return true;
}

void LiveSession::run_process(ClientId client, const wire::RunProcess& request, std::vector<sys::OwnedFd> passed) {
  if (refuse_while_narrow(client)) return;
  if (request.overrides_network()) return run_narrower(client, request, std::move(passed));
  processes_->run(client, request, std::move(passed));
}

void LiveSession::run_narrower(ClientId client, const wire::RunProcess& request, std::vector<sys::OwnedFd> passed) {
  const auto refused = [&](ErrorCode code, std::string message, std::string remedy) {
    answer(client, wire::Refusal{.code = code, .message = std::move(message), .remedy = std::move(remedy)});
  };
  if (request.freeze && options_.run.spec.network == sandbox::Network::host)
    return refused(ErrorCode::unavailable, "a session with the host's own network cannot be suspended", "");
  // Whoever opens one waits until the session's gateway knows of the narrower policy: for ever, while it is stopped.
  if (request.freeze && !options_.run.sensitive.empty())
    return refused(ErrorCode::unavailable, "a session with sensitive files is not suspended",
                   "end what lives there, and run it without freeze");
  if (request.detach)
    return refused(ErrorCode::bad_request, "a run with a network of its own is not detached",
                   "stay connected, or narrow the session");
  auto whole = SessionProcesses::check_descriptors(request, passed);
  if (whole) whole = check_apart(passed);
  if (!whole) return refused(ErrorCode::bad_request, whole.error().what(), whole.error().remedy());
  const auto& proxies = options_.run.egress_proxies;
  const auto has_secret = [](const policy::EgressProxy& proxy) {
    return proxy.credentials_in != policy::EgressProxy::CredentialsIn::nowhere;
  };
  // Another init would be made of this process, whose memory holds them by now.
  if (std::ranges::any_of(proxies, has_secret))
    return refused(ErrorCode::unavailable,
                   "this session's upstream proxy has credentials, which no second sandbox gets",
                   "narrow the session, or make another");
  // A supervisor that is stuck leaves it to the guard to end whoever could read them.
  if (live_.guards_files())
    return refused(ErrorCode::unavailable,
                   "this session has sensitive files that were not opened yet, and their guard guards it alone",
                   "open one, seal the session, or make another session without --sensitive");
  if (snapshots_->is_making())
    return refused(ErrorCode::conflict, "a snapshot of this session is being made", "ask again when it is done");
  const Network* const network = live_.network();
  auto policy = RunPolicy::of(request, network == nullptr ? nullptr : &network->policy(), options_.run.policy_mode);
  if (!policy) return answer(client, std::move(policy).error());
  narrow_run_ = std::make_unique<NarrowRun>(
      NarrowRun::Ground{.reactor = reactor_,
                        .log = log_,
                        .server = *server_,
                        .processes = *processes_,
                        .live = live_,
                        .inside = *inside_,
                        .run = options_.run,
                        .number = ++narrow_runs_,
                        .files_are_open = [this] { return files_->is_busy(); },
                        .on_keep = [this](const std::string& mode) { kept_mode_ = image::taint_of(mode, kept_mode_); },
                        .on_over = [this] { reactor_.retire(std::move(narrow_run_)); }},
      client, request, std::move(passed), std::move(*policy));
  narrow_run_->begin();
}

void LiveSession::narrow(ClientId client, const wire::ControlRequest& request) {
  Generations* const generations = live_.generations();
  if (generations == nullptr) {
    return answer(client, wire::Refusal{.code = ErrorCode::cannot_widen,
                                        .message = "mode " + options_.run.policy_mode + " has no gateway to narrow",
                                        .remedy = "nothing is narrower than it"});
  }
  generations->serve(Generations::Door::control, request,
                     [this, client](const wire::ControlReply& reply) { answer(client, session_reply_of(reply)); });
}

void LiveSession::snapshot(ClientId client, const wire::MakeSnapshot& request) {
  if (refuse_while_narrow(client)) return;
  snapshots_->make(request, policy_in_force(),
                   [this, client](const wire::SessionReply& reply) { answer(client, reply); });
}

// The connection closes when everything inside is gone.
void LiveSession::stop(ClientId client, const wire::StopSession& request) {
  server_->send(client, wire::session_reply_line(wire::Done{}));
  begin_to_end(request.kill ? Grace::none : Grace::given);
}

void LiveSession::begin_to_end(Grace grace) {
  if (service_) service_->end();
  if (narrow_run_ && !narrow_run_->has_process())
    narrow_run_->end({.code = ErrorCode::gone, .message = "session " + folder_.id() + " is ending", .remedy = ""});
  const Ending ended{.exit_code = 0, .error = {}};
  if (grace == Grace::none || processes_->living() == 0) return live_.end(ended);
  if (std::exchange(ending_, true)) return;
  processes_->signal_all(SIGTERM);
  reactor_.at(reactor_.now_ms() + static_cast<std::uint64_t>(options_.run.grace.count()),
              [this, ended] { live_.end(ended); });
}

void LiveSession::on_processes_changed() {
  if (ending_ && processes_->living() == 0) return live_.end({.exit_code = 0, .error = {}});
  look_at_idleness();
}

void LiveSession::look_at_idleness() {
  if (!idle_ || !processes_) return;
  const bool waits = service_ && service_->is_waiting();
  const bool busy = processes_->living() != 0 || waits || narrow_run_ != nullptr;
  if (busy) idle_since_.reset();
  const bool idle = server_->clients() == 0 && !busy;
  if (sleep_ && idle) sleep_->on_quiet();
  if (idle == std::exchange(is_idle_, idle)) return;
  if (!idle) return idle_->clear();
  start_idle_time();
}

void LiveSession::start_idle_time() {
  const std::uint64_t now = boot_ms();
  if (!idle_since_) idle_since_ = now;
  const std::uint64_t due = *idle_since_ + std::max(static_cast<std::uint64_t>(options_.idle->count()), put_off_ms_);
  if (auto set = idle_->set(due > now ? due - now : 0); !set) live_.end_with(set.error());
}

void LiveSession::on_idle() {
  if (!is_idle_ || ending_) return;
  if (!sleep_) return begin_to_end(Grace::given);
  // What is left of one that nobody waits for any more.
  if (narrow_run_) {
    idle_since_ = boot_ms();
    return start_idle_time();
  }
  if (!sleep_->is_under_way()) sleep_->begin();
}

void LiveSession::prepare_sleep() {
  if (options_.on_idle != SessionOptions::OnIdle::snapshot) return;
  const auto fell_asleep = [this] {
    asleep_ = true;
    if (Generations* const generations = live_.generations()) generations->close();
    live_.end({.exit_code = 0, .error = {}});
  };
  sleep_ = std::make_unique<SessionSleep>(
      SessionSleep::Ground{.reactor = reactor_,
                           .options = options_,
                           .folder = folder_,
                           .server = *server_,
                           .snapshots = *snapshots_,
                           .in_force = [this] { return in_force(); },
                           .on_asleep = fell_asleep,
                           .on_stays_awake = [this](const Error& why) { stay_awake(why); },
                           .on_moving = [this] { serve_held(); },
                           .on_lost = [this](Error why) { live_.end_with(std::move(why)); }});
}

SessionSnapshots::Policy LiveSession::policy_in_force() {
  const Network* const network = live_.network();
  if (network == nullptr)
    return {.mode = options_.run.policy_mode, .hash = options_.run.policy_hash, .kept_mode = kept_mode_};
  const policy::Image& policy = network->policy();
  return {.mode = policy::name_of(policy.mode()), .hash = policy.hash(), .kept_mode = kept_mode_};
}

SessionSleep::InForce LiveSession::in_force() {
  SessionSleep::InForce now{.stage = options_.run.stage,
                            .sequence = log_.sequence(),
                            .stored = {.info = info(), .expires_at = expires_at_},
                            .created = created_,
                            .described = policy_in_force()};
  if (const Network* const network = live_.network()) now.policy = &network->policy();
  if (const Generations* const generations = live_.generations()) now.stage = generations->stage();
  return now;
}

// Tried again later and later, as long as nobody wants anything of it; said once as long as it is the same.
void LiveSession::stay_awake(const Error& why) {
  if (std::exchange(not_asleep_, why.what()) != why.what()) {
    log_.record(stays_awake_event(policy_in_force().mode, why.what()));
    log_.commit();
  }
  idle_since_ = boot_ms();
  put_off_ms_ = std::clamp(2 * put_off_ms_, kLeastPutOffMs, kMostPutOffMs);
}

void LiveSession::serve_held() {
  if (is_idle_) start_idle_time();
  for (Held& each : std::exchange(held_, {})) {
    if (!server_->has(each.client)) continue;
    on_line(each.client, each.number, std::move(each.line));
    if (each.ended) on_end(each.client);
  }
}

void LiveSession::on_end(ClientId client) {
  if (!processes_) return;
  const auto held = std::ranges::find(held_, client, &Held::client);
  if (held != held_.end()) {
    held->ended = true;
    return;
  }
  if (narrow_run_) narrow_run_->client_ended(client);
  processes_->client_ended(client);
  files_->client_ended(client);
}

std::string LiveSession::line_of(LineServer::Trouble trouble) {
  const auto line = [](ErrorCode code, const char* message, const char* remedy) {
    return wire::error_line({.code = code, .message = message, .remedy = remedy});
  };
  switch (trouble) {
    case LineServer::Trouble::another_user:
      return line(ErrorCode::forbidden, "this session is another user's, or who asks is in a sandbox",
                  "ask as the user who made it");
    case LineServer::Trouble::too_many:
      return line(ErrorCode::too_many, "too many are connected at the same time", "ask again in a moment");
    case LineServer::Trouble::too_late:
      return line(ErrorCode::timeout, "the request did not come to its end within 10 s", "end it with a newline");
    case LineServer::Trouble::no_end:
      return line(ErrorCode::bad_request, "the request has no end", "end it with a newline");
    case LineServer::Trouble::too_large:
      return line(ErrorCode::too_large, "the request is longer than 1 MiB, or brings too many descriptors", "");
  }
  return {};
}

}  // namespace weir::supervisor
