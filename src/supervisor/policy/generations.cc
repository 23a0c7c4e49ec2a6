#include "supervisor/policy/generations.h"

#include <cerrno>
#include <utility>

#include "sys/memory_file.h"

namespace weir::supervisor {

namespace {

policy::PolicyFlags flags_of(const wire::ControlRequest& request) {
  policy::PolicyFlags flags;
  if (request.policy) flags.file = policy::TextFile{.name = "policy", .text = *request.policy};
  flags.mode = request.network_mode;
  flags.allow = request.network_allowlist;
  flags.deny = request.network_denylist;
  flags.insist = request.insist;
  return flags;
}

std::string code_of(const Error& error) {
  if (policy::is_cannot_widen(error)) return "cannot_widen";
  return error.code() == 0 ? "invalid_policy" : "failed";
}

wire::ControlReply reply_of(const Result<Generations::Change>& change) {
  if (!change) return refusal_of(code_of(change.error()), change.error());
  return {.refused = {},
          .generation = change->generation,
          .policy = change->policy,
          .cut = change->cut,
          .warnings = change->warnings};
}

Error fell_asleep() {
  return Error("the session has just fallen asleep", ESHUTDOWN).with_remedy("ask again: that wakes it");
}

}  // namespace

std::vector<std::string> shortened(std::vector<std::string> warnings) {
  constexpr std::size_t kLongest = 300;
  constexpr std::size_t kMost = 5;
  const std::size_t more = warnings.size() > kMost ? warnings.size() - kMost : 0;
  if (more > 0) warnings.resize(kMost);
  for (std::string& each : warnings) {
    if (each.size() > kLongest) each = each.substr(0, kLongest) + "...";
  }
  if (more > 0) warnings.push_back("and " + std::to_string(more) + " more like these");
  return warnings;
}

std::string reply_line_of(const Result<Generations::Change>& change) {
  return wire::control_reply_line(reply_of(change));
}

Result<std::shared_ptr<const sys::OwnedFd>> sealed_image(Bytes image) {
  WEIR_TRY(sys::OwnedFd file, sys::make_memory_file("weir-policy"));
  WEIR_CHECK_OK(sys::append(file, image));
  WEIR_CHECK_OK(sys::seal(file));
  return std::make_shared<const sys::OwnedFd>(std::move(file));
}

// Everything that can fail. The record comes first, but what takes away happens also where nothing can be recorded any
// more: whoever fills the record would keep what he has.
Result<Generations::Change> Generations::adopt(policy::Narrowed narrowed, const Cause& cause,
                                               std::optional<Network::Policy>& out) {
  narrowed.warnings = shortened(std::move(narrowed.warnings));
  WEIR_TRY(auto file, sealed_image(narrowed.image));
  WEIR_TRY(Network::Policy next, Network::Policy::of(std::move(file)));
  // What was admitted is the business of the generation that admitted it, also in the record.
  network_.settle();
  log_.begin_generation(narrowed.hash, generation_ + 1);
  audit::Event event;
  event.type = audit::EventType::policy_update;
  event.mode = policy::name_of(next.image.mode());
  event.cause = cause.name;
  event.path = cause.path;
  event.notices = narrowed.warnings;
  const bool recorded = log_.record(std::move(event)) && log_.commit();
  if (!recorded) {
    narrowed.warnings.push_back("in force, but not on the record: " + log_.failure());
  }
  out = std::move(next);
  return Change{.generation = ++generation_,
                .policy = std::move(narrowed.hash),
                .cut = 0,
                .warnings = std::move(narrowed.warnings),
                .recorded = recorded};
}

void Generations::put_in_force(Change change, Network::Policy next, OnDone on_done) {
  struct Open {
    Change change;
    OnDone on_done;
    int confirmations = 1;
  };
  const std::uint64_t generation = change.generation;
  auto open = std::make_shared<Open>(std::move(change), std::move(on_done), follower_ ? 2 : 1);
  const auto confirmed = [this, open](std::size_t cut) {
    open->change.cut += cut;
    if (--open->confirmations > 0) return;
    confirmed_ = {.generation = open->change.generation, .policy = open->change.policy, .cut = 0, .warnings = {}};
    open->on_done(std::move(open->change));
  };
  network_.narrow(std::move(next), generation, confirmed);
  if (follower_) follower_(network_.policy(), confirmed);
}

// The last place is that of [after].
Result<> Generations::check_room(const policy::Narrowed& narrowed) const {
  if (!after_ || state_ != After::ahead) return {};
  WEIR_TRY(const policy::Image image, policy::Image::open(narrowed.image));
  if (policy::has_room_inside(image)) return {};
  return std::unexpected(
      Error("this sandbox has been narrowed too often: the last time is kept for its [after]", ENOSPC)
          .with_remedy("let it enter its [after]"));
}

void Generations::narrow(const policy::Narrowing& by, OnDone on_done) {
  if (closed_) return on_done(std::unexpected(fell_asleep()));
  auto narrowed = policy::narrow_policy(network_.policy(), by);
  if (!narrowed) return on_done(std::unexpected(std::move(narrowed).error()));
  if (auto room = check_room(*narrowed); !room) return on_done(std::unexpected(std::move(room).error()));
  std::optional<Network::Policy> next;
  auto change = adopt(std::move(*narrowed), {.name = kControl}, next);
  if (!change) return on_done(std::move(change));
  put_in_force(std::move(*change), std::move(*next), std::move(on_done));
}

void Generations::enter_after(const Cause& cause, OnDone on_done) {
  if (state_ == After::entered) return on_done(confirmed_);
  if (closed_) return on_done(std::unexpected(fell_asleep()));
  waiting_.push_back(std::move(on_done));
  if (state_ == After::entering) return;
  state_ = After::entering;
  auto narrowed = policy::put_inside(network_.policy(), *after_);
  if (!narrowed) return on_failure_(std::move(narrowed).error());
  std::optional<Network::Policy> next;
  auto change = adopt(std::move(*narrowed), cause, next);
  if (!change) return on_failure_(std::move(change).error());
  if (!change->recorded) return on_failure_(Error("its [after] cannot be recorded: " + log_.failure()));
  put_in_force(std::move(*change), std::move(*next), [this](const Result<Change>& done) { entered(*done); });
}

void Generations::entered(const Change& change) {
  state_ = After::entered;
  for (OnDone& each : std::exchange(waiting_, {})) each(change);
}

void Generations::serve(Door door, const wire::ControlRequest& request, const ControlSocket::Answer& answer) {
  const auto on_done = [answer](const Result<Change>& change) { answer(reply_of(change)); };
  if (request.op == wire::ControlRequest::Op::show) return on_done(confirmed_);
  if (request.op == wire::ControlRequest::Op::seal) {
    if (after_) return enter_after({.name = kSeal}, on_done);
    return answer(refusal_of(
        "nothing_to_enter",
        Error("the policy of this sandbox has no [after]").with_remedy("start it with --after MODE, or narrow it")));
  }
  if (door == Door::seal) {
    return answer(
        refusal_of("forbidden", Error("here a sandbox is only sealed").with_remedy("start it with --control SOCKET")));
  }
  const auto by = policy::compile_narrowing(flags_of(request));
  if (!by) return answer(refusal_of(code_of(by.error()), by.error()));
  narrow(*by, on_done);
}

}  // namespace weir::supervisor
