#include "daemon/things.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>

#include "sys/errno.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

std::string_view beginning_of(Owned kind) {
  return kind == Owned::session ? "w-" : "s-";
}

Result<std::string> draw_id(Owned kind) {
  std::uint32_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return sys::errno_error("cannot draw an id");
  std::array<char, 9> text{};
  std::snprintf(text.data(), text.size(), "%08x", number);
  return std::string(beginning_of(kind)) + text.data();
}

Result<std::string> draw_free_id(Daemon& daemon, Owned kind, const IsThere& is_there) {
  while (true) {
    WEIR_TRY(std::string id, draw_id(kind));
    WEIR_TRY(const bool there, is_there(id));
    if (!there && !daemon.making.contains(id)) return id;
  }
}

wire::Answer<> check_name(Owned kind, const std::string& name) {
  if (name.starts_with(beginning_of(kind))) {
    return refuse(ErrorCode::bad_request, "the name '" + name + "' could be taken for an id",
                  "choose one that does not begin with " + std::string(beginning_of(kind)));
  }
  if (name.find(':') == std::string::npos) return {};
  return refuse(ErrorCode::bad_request, "the name '" + name + "' is none", "write letters, digits, '_', '.', '-'");
}

std::int64_t now() {
  return std::time(nullptr);
}

}  // namespace

NewThing::NewThing(Daemon& daemon, Owned kind, std::string id, const Principal& who)
    : daemon_(&daemon), kind_(kind), id_(std::move(id)) {
  daemon.making.emplace(id_, owner_key(who));
}

NewThing::NewThing(NewThing&& other) noexcept
    : daemon_(std::exchange(other.daemon_, nullptr)), kind_(other.kind_), id_(std::move(other.id_)) {}

NewThing::~NewThing() {
  if (daemon_ != nullptr) daemon_->making.erase(id_);
}

wire::Answer<> NewThing::is_made() {
  if (const auto made = daemon_->store.set_made(kind_, id_); !made) return internal(made.error());
  return {};
}

void NewThing::failed() {
  daemon_->store.disown(kind_, id_);
}

wire::Answer<std::vector<Store::Thing>> present_things(Daemon& daemon, Owned kind, const Principal& who,
                                                       const IsThere& is_there) {
  auto all = daemon.store.things_of(kind, who);
  if (!all) return internal(all.error());
  std::erase_if(*all, [&](const Store::Thing& thing) {
    const auto there = is_there(thing.id);
    if (!there || daemon.making.contains(thing.id)) return false;
    // What a daemon or a command that was killed began has come: from here on it goes with what it stands for.
    if (*there && thing.begun != 0) static_cast<void>(daemon.store.set_made(kind, thing.id));
    if (*there) return false;
    if (thing.begun != 0 && now() - thing.begun < kMayComeSeconds) return false;
    daemon.store.disown(kind, thing.id);
    return true;
  });
  return std::move(*all);
}

wire::Answer<NewThing> begin_thing(Daemon& daemon, Owned kind, const Principal& who, const std::string& name,
                                   const IsThere& is_there) {
  auto id = draw_free_id(daemon, kind, is_there);
  if (!id) return internal(id.error());
  if (who.is_owner()) return NewThing(daemon, kind, std::move(*id), who);
  WEIR_CHECK_OK(check_name(kind, name));
  // What a daemon before this one began, and has not come, keeps its row and not its name.
  const std::string other = daemon.store.id_called(kind, name, who);
  if (!other.empty() && !daemon.making.contains(other)) {
    const auto there = is_there(other);
    if (!there) return internal(there.error());
    const auto free = *there ? Result<>() : daemon.store.unname(kind, other);
    if (!free) return internal(free.error());
  }
  const auto noted = daemon.store.note(kind, {.id = *id, .name = name, .begun = now()}, who);
  if (noted) return NewThing(daemon, kind, std::move(*id), who);
  if (noted.error().code() != EEXIST) return internal(noted.error());
  return refuse(
      ErrorCode::name_taken,
      "you have a " + std::string(kind == Owned::session ? "session" : "snapshot") + " with the name '" + name + "'",
      "choose another, or delete that one");
}

}  // namespace weir::daemon
