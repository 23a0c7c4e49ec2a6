#include "supervisor/session/session_sleep.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/json_document.h"
#include "supervisor/sandbox_id.h"
#include "supervisor/session/sleep_plan.h"
#include "sys/errno.h"

namespace weir::supervisor {

namespace {

constexpr const char* kMarker = "slept-";

Result<> make_file(const std::string& path) {
  WEIR_TRY(const sys::OwnedFd file,
           sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600),
                           "cannot make " + path));
  return {};
}

Result<std::string> id_of(const std::string& summary) {
  WEIR_TRY(const Json document, parse_json(summary));
  const Json* const id = json_member(document, "id");
  if (id == nullptr || !id->is_string() || !image::is_snapshot_id(id->get<std::string>()))
    return fail("a snapshot without an id");
  return id->get<std::string>();
}

// What nobody can ask it any more.
session::Stored sleeping(SessionSleep::InForce now) {
  wire::SessionInfo& info = now.stored.info;
  info.state = session::kAsleep;
  info.usage = {.cpu_ms = info.usage.cpu_ms};
  info.processes = info.supervisor = 0;
  info.generation = now.stage.generation;
  info.policy = now.described.hash;
  if (info.service) info.service->health = "stopped";
  if (info.service) info.service->pid = 0;
  return std::move(now.stored);
}

}  // namespace

void SessionSleep::begin() {
  if (state_ != State::awake) return;
  const InForce now = ground_.in_force();
  // Of a name of its own: what an earlier one kept is not kept by this one.
  const auto name = new_sandbox_id();
  if (!name) return not_begun(name.error());
  const std::string marker = ground_.folder.path_of(kMarker + *name);
  if (auto made = make_file(marker); !made) return not_begun(made.error());
  marker_ = marker;
  state_ = State::copying;
  ground_.snapshots.make_for_sleep(marker_, now.described, [this](const wire::SessionReply& reply) { take(reply); });
}

// Nothing stands still yet.
void SessionSleep::not_begun(const Error& why) {
  ground_.on_stays_awake(why);
  ground_.on_moving();
}

void SessionSleep::call_off() {
  if (state_ == State::copying || state_ == State::copied) go_on();
}

void SessionSleep::on_quiet() {
  if (state_ == State::copied) decide();
}

void SessionSleep::go_on() {
  ground_.reactor.cancel(patience_);
  state_ = State::letting_go;
  remove_marker();
  ground_.snapshots.cancel([this] {
    state_ = State::awake;
    ground_.on_moving();
  });
}

// Everything inside stands still from here to the end, or until it is called off.
void SessionSleep::take(const wire::SessionReply& reply) {
  const auto* const refusal = std::get_if<wire::Refusal>(&reply);
  if (refusal != nullptr && refusal->code == wire::ErrorCode::conflict && ground_.snapshots.is_making()) {
    // Somebody else's snapshot is not this one's to end.
    state_ = State::awake;
    remove_marker();
    return not_begun(Error(refusal->message));
  }
  if (refusal != nullptr) return stay_awake(Error(refusal->message).with_remedy(refusal->remedy));
  const auto* const made = std::get_if<wire::SnapshotInfo>(&reply);
  const auto id = made != nullptr ? id_of(made->json) : Result<std::string>(fail("no snapshot"));
  if (!id) return stay_awake(id.error());
  snapshot_ = *id;
  state_ = State::copied;
  patience_ = ground_.reactor.at(sys::monotonic_ms() + kPatienceMs, [this] {
    if (state_ == State::copied) stay_awake(Error("there was always somebody connected to it"));
  });
  if (ground_.server.clients() == 0) decide();
}

// Who is connected by now may only be looking: then it is decided when he is gone.
void SessionSleep::decide() {
  Result<> written;
  state_ = State::deciding;
  const bool quiet = ground_.server.shut();
  if (quiet) written = write(snapshot_);
  if (quiet && written) {
    state_ = State::asleep;
    return ground_.on_asleep();
  }
  if (auto open = ground_.server.open_again(); !open) return ground_.on_lost(std::move(open).error());
  if (quiet) return stay_awake(std::move(written).error());
  state_ = State::copied;
  if (ground_.server.clients() == 0) stay_awake(Error("who connects to it cannot be seen: out of descriptors"));
}

// session.json is last: what was written before it means nothing without it.
Result<> SessionSleep::write(const std::string& snapshot) {
  InForce now = ground_.in_force();
  const SessionOptions& options = ground_.options;
  const session::OwnFolder& folder = ground_.folder;
  if (now.policy != nullptr) WEIR_CHECK_OK(folder.put(kSleepPolicy, now.policy->bytes()));
  if (options.run.after) {
    WEIR_TRY(const std::vector<std::uint8_t> after, image_of_after(*options.run.after));
    WEIR_CHECK_OK(folder.put(kSleepAfter, after));
  }
  const SleepStage stage{.slept = {.snapshot = snapshot,
                                   .created = now.created,
                                   .expires_at = now.stored.expires_at,
                                   .sequence = now.sequence,
                                   .disk_bytes = options.disk_bytes()},
                         .policy = now.stage,
                         .policy_hash = std::string(now.described.hash)};
  WEIR_TRY(const std::string plan, sleep_plan_text(options, stage));
  WEIR_CHECK_OK(parse_sleep_plan(plan));  // what could not be read again would be the end of it
  WEIR_CHECK_OK(folder.put(kSleepPlan, as_bytes(plan)));
  return folder.write(sleeping(std::move(now)));
}

void SessionSleep::stay_awake(Error why) {
  ground_.reactor.cancel(patience_);
  state_ = State::letting_go;
  remove_marker();
  ground_.snapshots.cancel([this, why = std::move(why)] {
    state_ = State::awake;
    ground_.on_stays_awake(why);
    ground_.on_moving();
  });
}

void SessionSleep::remove_marker() {
  ::unlink(marker_.c_str());
  marker_.clear();
}

}  // namespace weir::supervisor
