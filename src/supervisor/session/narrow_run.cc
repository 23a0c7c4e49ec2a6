#include "supervisor/session/narrow_run.h"

#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/failure_line.h"
#include "image/snapshot/written_archive.h"
#include "supervisor/record/limit_report.h"
#include "sys/pipe.h"

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

[[noreturn]] void become_copier(const WrittenFiles& written, const sys::OwnedFd& to, const sys::OwnedFd& said) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_NAME, "weir-keep", 0, 0, 0);
  ::signal(SIGPIPE, SIG_IGN);
  if (!sys::close_all_but({STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, written.tree.folder, to.get(), said.get()}))
    ::_exit(1);
  if (auto copied = image::write_written(written.tree, written.ids, to.get()); !copied) {
    const std::string why = copied.error().what();
    static_cast<void>(::write(said.get(), why.data(), std::min<std::size_t>(why.size(), PIPE_BUF)) > 0);
    ::_exit(1);
  }
  ::_exit(0);
}

bool is_folder(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// What is copied lies among the session's own files. What would be written into the host's files is written over them,
// and thrown away, unless it is to be kept. A single file is only read then: a copy of it would be as large as whoever
// writes it likes.
enum class Writes : std::uint8_t { thrown_away, kept };
std::vector<Share> shares_of(const std::vector<Share>& session, Writes writes) {
  std::vector<Share> shares;
  for (Share share : session) {
    if (share.access == Share::Access::copy) continue;
    if (share.access == Share::Access::overlay) share.of = Share::Of::session;
    if (share.access == Share::Access::read_write && writes == Writes::thrown_away) {
      share.access = is_folder(share.source) ? Share::Access::overlay : Share::Access::read_only;
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
      on_dead_([this](std::uint32_t) { on_dead(); }),
      on_copied_([this](std::uint32_t) { on_copied(); }) {}

NarrowRun::~NarrowRun() {
  ground_.reactor.cancel(timer_);
  ground_.reactor.cancel(limits_timer_);
  if (copied_.valid()) ground_.reactor.forget(copied_.get());
  if (sandbox_) {
    ground_.reactor.forget(sandbox_->control_fd());
    if (sandbox_->init_pidfd() >= 0) ground_.reactor.forget(sandbox_->init_pidfd());
    sandbox_->kill();
  }
  network_.reset();
  thaw();
  if (state_ != State::over) record_end();
  for (const auto& done : std::exchange(following_, {})) done(0);
}

void NarrowRun::begin() {
  deadline_ = sys::monotonic_ms() + kEmptyPatienceMs;
  look_for_others();
}

// Nothing is begun in the session meanwhile: once it is empty it stays so.
void NarrowRun::look_for_others() {
  timer_ = 0;
  const auto living = ground_.live.sandbox()->living(sys::monotonic_ms() < deadline_ ? 0 : kMostNamed);
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
  spec.shares = shares_of(spec.shares, request_.keep_files ? Writes::kept : Writes::thrown_away);
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
  if (request_.keep_files) {
    WEIR_TRY(written_, WrittenFiles::of(*sandbox_, spec_));
    // What it writes there is there, whatever its end.
    const auto is_written = [](const Share& share) { return share.access == Share::Access::read_write; };
    if (std::ranges::any_of(spec_.shares, is_written)) ground_.on_keep(policy_.mode);
  }
  WEIR_CHECK_OK(start_network());
  WEIR_CHECK_OK(record_start());
  SessionProcesses::Elsewhere place{
      .inside = *inside,
      .pid = SessionProcesses::kFirstElsewhere + static_cast<std::uint32_t>(ground_.number % 4'194'304),
      .env = env_of(spec_),
      .on_ended = [this](Result<wire::ExitedProcess> exited) { process_ended(std::move(exited)); }};
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
  if (request_.freeze) event.notices.emplace_back("the session stands still meanwhile (freeze)");
  if (request_.keep_files) event.notices.emplace_back("what it writes is kept if it ends with 0 (keep_files)");
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
    return process_ended(wire::ExitedProcess{.exit_code = 128 + SIGKILL, .signal = SIGKILL, .limits = {"memory"}});
  }
  limits_timer_ = ground_.reactor.at(sys::monotonic_ms() + sandbox::Limiter::kWatchMs, [this] { look_at_limits(); });
}

void NarrowRun::process_ended(Result<wire::ExitedProcess> exited) {
  if (has_ended()) return;
  if (exited) {
    how_ = std::move(*exited);
  } else {
    how_ = wire::refuse(ErrorCode::internal, exited.error());  // which the client was told
  }
  wind_up();
}

// What is wrong with a request was found before there was a sandbox.
void NarrowRun::fail(const Error& error) {
  end({.code = ErrorCode::internal, .message = "the run was ended: " + error.what(), .remedy = error.remedy()});
}

void NarrowRun::end(wire::Refusal why) {
  if (has_ended()) return;
  how_ = std::unexpected(std::move(why));
  wind_up();
}

void NarrowRun::client_ended(ClientId client) {
  if (client != client_) return;
  client_ = 0;
  if (state_ == State::keeping) return ground_.inside.abandon(keeping_);
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
  if (!ground_.reactor.watch(sandbox_->init_pidfd(), EPOLLIN, on_dead_)) return hear_out();
  timer_ = ground_.reactor.at(sys::monotonic_ms() + kEndPatienceMs, [this] {
    ground_.live.end_with(Error("the sandbox of a run does not end; its session was ended with it", ETIMEDOUT));
  });
}

void NarrowRun::on_dead() {
  ground_.reactor.forget(sandbox_->init_pidfd());
  ground_.reactor.cancel(timer_);
  timer_ = ground_.reactor.at(sys::monotonic_ms(), [this] { hear_out(); });
}

// Sandbox first, then its gateway, as everywhere.
void NarrowRun::hear_out() {
  timer_ = 0;
  sandbox_->kill();
  report_limits();
  if (!network_) return conclude();
  network_->hear_out([this] { timer_ = ground_.reactor.at(sys::monotonic_ms(), [this] { conclude(); }); });
}

// After kill(), as LiveSandbox does for the session.
void NarrowRun::report_limits() {
  for (const sandbox::LimitHit& hit : sandbox_->limits_reached()) {
    audit::Event event;
    event.type = audit::EventType::limit;
    event.limits = {report_of(hit, spec_.limits)};
    record_.record(std::move(event));
  }
}

void NarrowRun::conclude() {
  timer_ = 0;
  network_.reset();
  ground_.log.flush_roll_ups();
  sandbox_.reset();
  thaw();
  if (how_ && *how_) SessionProcesses::tell_refused(**how_, record_.refused(), {});
  if (keeps_files() && client_ != 0) return keep();
  tell();
}

bool NarrowRun::keeps_files() const {
  return written_ && how_ && *how_ && (*how_)->exit_code == 0 && (*how_)->not_executed.empty();
}

// Nothing of it lives: what it has written stays as it is for as long as the descriptor is there. A child of the
// session's init takes it over, with the rights of the sandbox's user.
void NarrowRun::keep() {
  state_ = State::keeping;
  // Nothing of it lives that would have to follow.
  for (const auto& done : std::exchange(following_, {})) done(0);
  ground_.on_keep(policy_.mode);
  const auto on_answer = [this, alive = std::weak_ptr(alive_)](Result<sandbox::Inside::FileAnswer> answer) {
    if (!alive.lock()) return;
    auto begun = answer ? begin_copy(answer->fd) : Result<>(std::unexpected(std::move(answer).error()));
    if (!begun) kept(begun);
  };
  const auto on_done = [this, alive = std::weak_ptr(alive_)](const Result<>& how) {
    if (alive.lock()) merged(how);
  };
  keeping_ = ground_.inside.files({.what = sandbox::Inside::FileTask::Do::merge, .path = "/"}, on_answer, on_done);
  timer_ = ground_.reactor.at(sys::monotonic_ms() + kKeepPatienceMs, [this] { ground_.inside.abandon(keeping_); });
}

Result<> NarrowRun::begin_copy(const sys::OwnedFd& to) {
  WEIR_TRY(sys::Pipe said, sys::make_pipe());
  WEIR_TRY(sys::ChildProcess child, in_context(sys::ChildProcess::clone(0), "cannot begin to copy"));
  if (child.in_child()) become_copier(*written_, to, said.writing);
  copier_ = std::move(child);
  copied_ = std::move(said.reading);
  return ground_.reactor.watch(copied_.get(), EPOLLIN, on_copied_);
}

// What could not be read is why the archive has no end.
void NarrowRun::on_copied() {
  std::array<char, 4096> buffer;
  const ssize_t got = ::read(copied_.get(), buffer.data(), buffer.size());
  if (got < 0 && errno == EINTR) return;
  if (got > 0) {
    copier_error_.append(buffer.data(), static_cast<std::size_t>(got));
    return;
  }
  ground_.reactor.forget(copied_.get());
  copied_.reset();
  copier_did_it_ = copier_.wait() == 0;
  if (is_merged_) kept({});
}

// Whoever reads the archive may lie: that all of it was read is said by who wrote it.
void NarrowRun::merged(const Result<>& how) {
  is_merged_ = how.has_value();
  if (!how || !copied_.valid()) kept(how);
}

void NarrowRun::kept(Result<> how) {
  if (state_ != State::keeping) return;
  is_merged_ = false;
  ground_.reactor.cancel(std::exchange(timer_, 0));
  copier_.kill();
  while (copied_.valid()) on_copied();
  written_.reset();
  if (how && !copier_did_it_) how = weir::fail("not all of it was read");
  if (!how) {
    const std::string why = copier_error_.empty() ? how.error().what() : printable(copier_error_);
    how_ = wire::refuse(how.error().code() == ENOSPC ? ErrorCode::limit : ErrorCode::conflict,
                        "the command ended with 0, but its files were not kept, or only in part: " + why,
                        "look at the session's files, and run it again");
  }
  tell();
}

// The last thing.
void NarrowRun::tell() {
  record_end();
  state_ = State::over;
  if (process_ != 0 && how_) ground_.processes.finish(process_, *how_);
  if (process_ == 0 && client_ != 0 && how_) ground_.server.finish(client_, wire::error_line(how_->error()));
  for (const auto& done : std::exchange(following_, {})) done(0);
  ground_.on_over();
}

void NarrowRun::record_end() {
  if (!std::exchange(recorded_, false)) return;
  audit::Event event;
  event.type = audit::EventType::run_exit;
  event.exit_code = how_ && *how_ ? (*how_)->exit_code : kExitOwnFailure;
  // In part the guest's words.
  if (how_ && !*how_) event.error = how_->error().message.substr(0, kMaxRecordedError);
  if (!how_) event.error = "it was ended with its session";
  record_.record(std::move(event));
  record_.commit();
}

void NarrowRun::follow(const policy::Image& session, Network::OnTaken done) {
  if (state_ == State::keeping || state_ == State::over) return done(0);
  if (has_ended()) return following_.push_back(std::move(done));
  auto next = policy_.inside(session);
  auto followed = next ? follow(std::move(*next), done) : Result<>(std::unexpected(std::move(next).error()));
  if (followed) return;
  following_.push_back(std::move(done));
  end({.code = ErrorCode::gone,
       .message = "the session's policy became narrower, which this run could not follow: " + followed.error().what(),
       .remedy = "run it again"});
}

// Why is said by the event of the session's own change, which comes before.
void NarrowRun::adopt(RunPolicy next) {
  record_.begin_policy(next.hash);
  policy_ = std::move(next);
  if (!recorded_) return;
  audit::Event event;
  event.type = audit::EventType::policy_update;
  event.mode = policy_.mode;
  event.notices = policy_.warnings;
  record_.record(std::move(event));
  record_.commit();
}

Result<> NarrowRun::follow(RunPolicy next, const Network::OnTaken& done) {
  if (!network_) {
    // What is captured already stays so, and its gateway will have a policy that lets nothing out.
    const sandbox::Network network = policy_.network;
    adopt(std::move(next));
    policy_.network = network;
    done(0);
    return {};
  }
  WEIR_TRY(Network::Policy policy, Network::Policy::of(next.image));
  network_->settle();
  adopt(std::move(next));
  following_.push_back(done);
  network_->narrow(std::move(policy), ++generation_, [this](std::size_t cut) {
    // In order: the first that waits is the first that is confirmed.
    const auto first = std::move(following_.front());
    following_.erase(following_.begin());
    first(cut);
  });
  return {};
}

}  // namespace weir::supervisor
