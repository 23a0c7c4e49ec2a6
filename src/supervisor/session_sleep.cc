#include "supervisor/session_sleep.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/json_document.h"
#include "supervisor/sandbox_id.h"
#include "supervisor/sleep_plan.h"
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

// Of the layers that a snapshot's description names, top first, the session's own.
Result<std::uint64_t> own_bytes(const std::string& summary, std::size_t layers_below) {
  WEIR_TRY(const Json document, parse_json(summary));
  const Json* const layers = json_member(document, "layers");
  if (layers == nullptr || !layers->is_array() || layers->size() < layers_below)
    return fail("a snapshot without layers");
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i + layers_below < layers->size(); ++i) {
    const Json* const each = json_member((*layers)[i], "bytes");
    if (each == nullptr || !each->is_number_unsigned()) return fail("a layer without a size");
    bytes += each->get<std::uint64_t>();
  }
  return bytes;
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
  if (now.policy != nullptr) info.policy = now.policy->hash();
  if (info.service) info.service->health = "stopped";
  if (info.service) info.service->pid = 0;
  return std::move(now.stored);
}

}  // namespace

void SessionSleep::begin() {
  if (state_ != State::awake) return;
  // Of a name of its own: what an earlier one kept is not kept by this one.
  const auto name = new_sandbox_id();
  if (!name) return stay_awake(name.error());
  marker_ = ground_.folder.path_of(kMarker + *name);
  if (auto made = make_file(marker_); !made) return stay_awake(made.error());
  state_ = State::copying;
  ground_.snapshots.make_for_sleep(marker_, ground_.policy(), [this](const wire::SessionReply& reply) { take(reply); });
}

void SessionSleep::call_off() {
  if (state_ == State::copying || state_ == State::copied) go_on();
}

void SessionSleep::on_quiet() {
  if (state_ == State::copied) decide();
}

void SessionSleep::go_on() {
  state_ = State::letting_go;
  remove_marker();
  ground_.snapshots.cancel([this] {
    state_ = State::awake;
    ground_.on_moving();
  });
}

// Everything inside stands still from here to the end, or until it is called off.
void SessionSleep::take(const wire::SessionReply& reply) {
  if (const auto* const refusal = std::get_if<wire::Refusal>(&reply))
    return stay_awake(Error(refusal->message).with_remedy(refusal->remedy));
  const auto* const made = std::get_if<wire::SnapshotInfo>(&reply);
  const auto id = made != nullptr ? id_of(made->json) : Result<std::string>(fail("no snapshot"));
  if (!id) return stay_awake(id.error());
  if (auto room = check_room(made->json); !room) return stay_awake(room.error());
  snapshot_ = *id;
  state_ = State::copied;
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

// --disk counts what is in layers of its own as well.
Result<> SessionSleep::check_room(const std::string& summary) const {
  const SessionOptions& options = ground_.options;
  const auto limit = options.disk_bytes();
  if (!limit) return {};
  WEIR_TRY(const std::uint64_t own, own_bytes(summary, options.layers_below));
  if (own + kLeastDisk <= *limit) return {};
  return std::unexpected(Error("--disk is used up: it could write nothing when it wakes", ENOSPC)
                             .with_remedy("remove files inside before they are kept, or begin one with more"));
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
  const SleepStage stage{
      .slept = {.snapshot = snapshot,
                .created = now.created,
                .expires_at = now.stored.expires_at,
                .sequence = now.sequence,
                .disk_bytes = options.disk_bytes()},
      .policy = now.stage,
      .policy_hash = now.policy != nullptr ? std::string(now.policy->hash()) : options.run.policy_hash};
  WEIR_TRY(const std::string plan, sleep_plan_text(options, stage));
  WEIR_CHECK_OK(folder.put(kSleepPlan, as_bytes(plan)));
  return folder.write(sleeping(std::move(now)));
}

void SessionSleep::stay_awake(Error why) {
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
