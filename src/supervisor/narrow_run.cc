#include "supervisor/narrow_run.h"

#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

namespace weir::supervisor {

namespace {

using sandbox::Share;
using wire::ErrorCode;

// What announces the proxies of a gateway says nothing where there is none.
SessionProcesses::Variables env_of(const sandbox::Spec& spec) {
  SessionProcesses::Variables env = spec.env;
  if (spec.network == sandbox::Network::captured) return env;
  const std::string proxy = "://" + spec.addresses.gateway4.text() + ":";
  // The two that only say something beside them stay.
  std::erase_if(env, [&](const auto& variable) { return variable.second.find(proxy) != std::string::npos; });
  return env;
}

wire::ErrorCode code_of(const Error& error) {
  return error.code() == EINVAL ? wire::ErrorCode::bad_request : wire::ErrorCode::internal;
}

bool is_folder(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// What is copied lies among the session's own files. What would be written into the host's files is written over them,
// and thrown away.
std::vector<Share> shares_of(const std::vector<Share>& session) {
  std::vector<Share> shares;
  for (Share share : session) {
    if (share.access == Share::Access::copy) continue;
    if (share.access == Share::Access::overlay) share.of = Share::Of::session;
    if (share.access == Share::Access::read_write) {
      share.access = is_folder(share.source) ? Share::Access::overlay : Share::Access::copy;
      share.read_only_below.clear();
    }
    shares.push_back(std::move(share));
  }
  return shares;
}

std::string list_of(const std::vector<std::uint32_t>& pids) {
  std::string text;
  for (const std::uint32_t pid : pids) text += (text.empty() ? "" : ", ") + std::to_string(pid);
  return text;
}

wire::Refusal wider(const sandbox::Living& living) {
  const bool one = living.pids.size() == 1;
  const std::string named = living.pids.empty() ? "processes that were asked for before"
                                                : std::string(one ? "process " : "processes ") + list_of(living.pids);
  const char* const verb = one ? " lives" : " live";
  return {.code = ErrorCode::wider_process,
          .message = named + verb + " in the session with its wider policy",
          .remedy = "wait for the end of it, signal it, or suspend it meanwhile with freeze (--freeze)"};
}

}  // namespace

NarrowRun::NarrowRun(Ground ground, ClientId client, wire::RunProcess request, std::vector<sys::OwnedFd> passed,
                     RunPolicy policy)
    : ground_(std::move(ground)),
      client_(client),
      request_(std::move(request)),
      passed_(std::move(passed)),
      policy_(std::move(policy)),
      record_(ground_.log, ground_.number, policy_.hash),
      on_control_([this](std::uint32_t) { on_control(); }),
      on_dead_([this](std::uint32_t) { on_dead(); }) {}

NarrowRun::~NarrowRun() {
  ground_.reactor.cancel(timer_);
  ground_.reactor.cancel(limits_timer_);
  if (sandbox_) {
    ground_.reactor.forget(sandbox_->control_fd());
    if (sandbox_->init_pidfd() >= 0) ground_.reactor.forget(sandbox_->init_pidfd());
    sandbox_->kill();
  }
  network_.reset();
  thaw();
  if (state_ != State::over) record_end();
  for (const auto& done : std::exchange(following_, {})) done();
}

void NarrowRun::begin() {
  deadline_ = sys::monotonic_ms() + kEmptyPatienceMs;
  look_for_others();
}

// Nothing is begun in the session meanwhile: once it is empty it stays so.
void NarrowRun::look_for_others() {
  timer_ = 0;
  const auto living = ground_.live.sandbox()->living(kMostNamed);
  if (!living) return end({.code = ErrorCode::cannot_enforce, .message = living.error().what(), .remedy = ""});
  const bool waits_for_none = !living->any || request_.freeze;
  if (waits_for_none && !ground_.files_are_open()) return request_.freeze ? freeze() : start();
  if (sys::monotonic_ms() < deadline_) {
    timer_ = ground_.reactor.at(sys::monotonic_ms() + kLookAgainMs, [this] { look_for_others(); });
    return;
  }
  if (!ground_.files_are_open()) return end(wider(*living));
  end({.code = ErrorCode::conflict,
       .message = "files of the session are being read or written",
       .remedy = "ask again when that is done"});
}

// To stand still is what programs do that mean no harm: who armed a timer goes on by itself. What holds is that the
// session's network does not move, which is in nobody's reach inside.
void NarrowRun::freeze() {
  frozen_ = true;
  ground_.inside.freeze([this, alive = std::weak_ptr(alive_)](const Result<>& still) {
    if (!alive.lock() || state_ != State::waiting) return;
    if (!still) {
      frozen_ = false;
      return end({.code = ErrorCode::conflict, .message = still.error().what(), .remedy = still.error().remedy()});
    }
    if (auto suspended = suspend(); !suspended)
      return end({.code = ErrorCode::cannot_enforce, .message = suspended.error().what(), .remedy = "try again"});
    start();
  });
}

Result<> NarrowRun::suspend() {
  Network* const network = ground_.live.network();
  if (network == nullptr) return {};
  WEIR_CHECK_OK(in_context(network->suspend(), "the session's network"));
  suspended_ = true;
  return {};
}

// Where the session ends as well, its network is let go of with it.
void NarrowRun::thaw() {
  Network* const network = ground_.live.network();
  if (std::exchange(suspended_, false) && network != nullptr) network->go_on();
  if (std::exchange(frozen_, false)) ground_.inside.thaw();
}

sandbox::Spec NarrowRun::spec() const {
  sandbox::Spec spec = ground_.run.spec;
  spec.over_session = true;
  spec.layers.clear();
  spec.shares = shares_of(spec.shares);
  spec.network = policy_.network;
  spec.published = false;
  spec.seals = false;
  spec.shows_layers = false;
  return spec;
}

void NarrowRun::start() {
  state_ = State::starting;
  if (auto begun = prepare(); !begun)
    return end({.code = ErrorCode::cannot_enforce,
                .message = "no sandbox for a run with a network of its own: " + begun.error().what(),
                .remedy = begun.error().remedy()});
}

Result<> NarrowRun::prepare() {
  spec_ = spec();
  WEIR_TRY(sandbox::Sandbox made, sandbox::Sandbox::prepare_over(*ground_.live.sandbox(), spec_));
  sandbox_.emplace(std::move(made));
  WEIR_CHECK_OK(ground_.reactor.watch(sandbox_->control_fd(), EPOLLIN, on_control_));
  timer_ = ground_.reactor.at(sys::monotonic_ms() + kStartPatienceMs,
                              [this] { fail(Error("its sandbox did not start within a minute", ETIMEDOUT)); });
  return sandbox_->execute();
}

void NarrowRun::on_control() {
  if (state_ == State::starting) {
    const auto stands = sandbox_->on_start_readable(spec_);
    if (!stands) return fail(stands.error());
    if (*stands) started();
    return;
  }
  if (state_ != State::running) return;
  const auto exited = sandbox_->on_control_readable();
  if (!exited) return fail(exited.error());
  if (exited->has_value()) fail(Error("its sandbox ended by itself"));
}

void NarrowRun::started() {
  ground_.reactor.cancel(std::exchange(timer_, 0));
  state_ = State::running;
  if (auto begun = begin_process(); !begun) return fail(begun.error());
  if (sandbox_->has_watched_limits()) look_at_limits();
}

// The network and the record stand before its first instruction.
Result<> NarrowRun::begin_process() {
  WEIR_TRY(sandbox::Inside* const inside, sandbox_->serve_inside(ground_.reactor));
  WEIR_CHECK_OK(start_network());
  WEIR_CHECK_OK(record_start());
  SessionProcesses::Elsewhere place{
      .inside = *inside,
      .pid = SessionProcesses::kFirstElsewhere + static_cast<std::uint32_t>(ground_.number % 4'194'304),
      .env = env_of(spec_),
      .on_ended = [this](const wire::ExitedProcess* exited) { process_ended(exited); }};
  WEIR_TRY(process_, ground_.processes.run_elsewhere(client_, request_, std::move(passed_), std::move(place)));
  return {};
}

Result<> NarrowRun::start_network() {
  if (policy_.network != sandbox::Network::captured) return {};
  const auto lost = [this](const std::string& why) { fail(Error(why + "; the run was ended with its network")); };
  WEIR_TRY(network_, ground_.live.network_beside(sandbox_->take_capture(), policy_.image, record_, lost));
  return {};
}

Result<> NarrowRun::record_start() {
  audit::Event event;
  event.type = audit::EventType::run_start;
  event.mode = policy_.mode;
  event.command = request_.argv.front().substr(0, SessionProcesses::kMaxArgv0);
  event.notices = policy_.warnings;
  recorded_ = record_.record(std::move(event)) && record_.commit();
  if (recorded_) return {};
  return weir::fail("it cannot be recorded: " + ground_.log.failure());
}

// A limit that cannot be watched any more does not hold.
void NarrowRun::look_at_limits() {
  limits_timer_ = 0;
  if (state_ != State::running) return;
  const auto exceeded = sandbox_->look_at_limits();
  if (!exceeded) return fail(exceeded.error());
  if (*exceeded) {
    const wire::ExitedProcess killed{.exit_code = 128 + SIGKILL, .signal = SIGKILL, .limits = {"memory"}};
    return process_ended(&killed);
  }
  limits_timer_ = ground_.reactor.at(sys::monotonic_ms() + sandbox::Limiter::kWatchMs, [this] { look_at_limits(); });
}

void NarrowRun::process_ended(const wire::ExitedProcess* exited) {
  if (state_ == State::ending || state_ == State::over) return;
  if (exited != nullptr) how_ = *exited;
  if (exited == nullptr) client_ = 0;  // it was told
  wind_up();
}

void NarrowRun::fail(const Error& error) {
  end({.code = code_of(error), .message = "the run was ended: " + error.what(), .remedy = error.remedy()});
}

void NarrowRun::end(wire::Refusal why) {
  if (state_ == State::ending || state_ == State::over) return;
  how_ = std::unexpected(std::move(why));
  wind_up();
}

void NarrowRun::client_ended(ClientId client) {
  if (client != client_) return;
  client_ = 0;
  // Once there is a process, its end is the end of the rest.
  if (process_ != 0) return;
  ground_.server.drop(client);
  end({.code = ErrorCode::gone, .message = "nobody waits for it"});
}

// May be called from within the sandbox and the network: what is done to them is done later.
void NarrowRun::wind_up() {
  state_ = State::ending;
  ground_.reactor.cancel(std::exchange(timer_, 0));
  ground_.reactor.cancel(std::exchange(limits_timer_, 0));
  passed_.clear();
  timer_ = ground_.reactor.at(sys::monotonic_ms(), [this] { kill(); });
}

// Its end takes a while in which others are served.
void NarrowRun::kill() {
  timer_ = 0;
  if (!sandbox_) return conclude();
  ground_.reactor.forget(sandbox_->control_fd());
  sandbox_->begin_kill();
  const int init = sandbox_->init_pidfd();
  if (init < 0 || !ground_.reactor.watch(init, EPOLLIN, on_dead_)) conclude();
}

void NarrowRun::on_dead() {
  ground_.reactor.forget(sandbox_->init_pidfd());
  timer_ = ground_.reactor.at(sys::monotonic_ms(), [this] { conclude(); });
}

// Sandbox first, then its gateway, as everywhere.
void NarrowRun::conclude() {
  timer_ = 0;
  if (sandbox_) sandbox_->kill();
  network_.reset();
  ground_.log.flush_roll_ups();
  record_end();
  sandbox_.reset();
  thaw();
  state_ = State::over;
  if (how_ && *how_) SessionProcesses::tell_refused(**how_, record_.refused(), {});
  if (process_ != 0 && how_) ground_.processes.finish(process_, *how_);
  if (process_ == 0 && client_ != 0 && how_) ground_.server.finish(client_, wire::error_line(how_->error()));
  for (const auto& done : std::exchange(following_, {})) done();
  ground_.on_over();
}

void NarrowRun::record_end() {
  if (!std::exchange(recorded_, false)) return;
  audit::Event event;
  event.type = audit::EventType::run_exit;
  event.exit_code = how_ && *how_ ? (*how_)->exit_code : kExitOwnFailure;
  if (how_ && !*how_) event.error = how_->error().message;
  if (!how_) event.error = "it was ended with its session";
  record_.record(std::move(event));
  record_.commit();
}

void NarrowRun::follow(const policy::Image& session, std::function<void()> done) {
  if (state_ == State::ending || state_ == State::over) return following_.push_back(std::move(done));
  auto next = policy_.inside(session);
  auto followed = next ? follow(std::move(*next), done) : Result<>(std::unexpected(std::move(next).error()));
  if (followed) return;
  following_.push_back(std::move(done));
  end({.code = ErrorCode::gone,
       .message = "the session's policy became narrower, which this run could not follow: " + followed.error().what(),
       .remedy = "run it again"});
}

Result<> NarrowRun::follow(RunPolicy next, const std::function<void()>& done) {
  if (!network_) {
    // What is captured already stays so, and its gateway will have a policy that lets nothing out.
    const sandbox::Network network = policy_.network;
    record_.begin_policy(next.hash);
    policy_ = std::move(next);
    policy_.network = network;
    done();
    return {};
  }
  WEIR_TRY(Network::Policy policy, Network::Policy::of(next.image));
  network_->settle();
  record_.begin_policy(next.hash);
  policy_ = std::move(next);
  following_.push_back(done);
  network_->narrow(std::move(policy), ++generation_, [this](std::size_t) {
    // In order: the first that waits is the first that is confirmed.
    const auto first = std::move(following_.front());
    following_.erase(following_.begin());
    first();
  });
  return {};
}

}  // namespace weir::supervisor
