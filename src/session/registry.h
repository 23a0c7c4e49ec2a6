// The sessions of this user, as their folders say (docs/decisions/0018).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "sys/owned_fd.h"
#include "wire/session_reply.h"

namespace weir::session {

// What session.json holds.
struct Stored {
  wire::SessionInfo info;        // as it was when it was written: what changes is asked of the session itself
  std::uint64_t expires_at = 0;  // seconds since 1970; 0: never
};

inline constexpr std::string_view kAsleep = "asleep";
inline constexpr std::string_view kRunning = "running";
// SessionInfo::on_idle of one that falls asleep.
inline constexpr std::string_view kAsksToSleep = "snapshot";

// "w-" and eight hexadecimal digits.
bool is_session_id(std::string_view text);

// The folder of a session that is this process's: its lock is held. Where it goes without remove(), or the process
// dies, whoever comes next sweeps it, unless session.json says that it is asleep.
class OwnFolder {
 public:
  static constexpr const char* kSocket = "socket";

  OwnFolder(OwnFolder&&) noexcept = default;
  OwnFolder& operator=(OwnFolder&&) noexcept = default;

  const std::string& id() const { return id_; }
  const std::string& path() const { return path_; }
  const sys::OwnedFd& fd() const { return folder_; }
  // What must stay open in whichever process is to own it: a child of fork() owns it too, until both have closed it.
  int lock_fd() const { return lock_.get(); }

  // Puts session.json in place, whole or not at all. With the state "asleep" it stays when the lock goes.
  Result<> write(const Stored& stored) const;
  // The same for another file of the session's.
  Result<> put(const std::string& name, Bytes content) const;
  std::string path_of(const std::string& name) const { return path_ + "/" + name; }
  // Removes every file but these, session.json and the lock.
  void keep_only(std::span<const std::string> names) const;
  // Gives up the name and removes everything. Idempotent. Where the registry cannot be locked whoever comes next does.
  void remove();
  // Lets the lock go and removes nothing, now or later.
  void let_go();

 private:
  friend class Registry;
  OwnFolder(std::string state, std::string id, sys::OwnedFd folder, sys::OwnedFd lock)
      : state_(std::move(state)),
        id_(std::move(id)),
        path_(state_ + "/sessions/" + id_),
        folder_(std::move(folder)),
        lock_(std::move(lock)) {}

  std::string state_;
  std::string id_;
  std::string path_;
  sys::OwnedFd folder_;
  sys::OwnedFd lock_;
};

class Registry {
 public:
  // Those below state_folder(). The folders are made; an error where others may open or write them.
  static Result<Registry> open();
  // For tests.
  static Result<Registry> open(std::string state);

  // Live ones and those that are asleep, by the time they were made. Sweeps the rest. One that does not stand yet is
  // left out. `expired`: since it was last asked for some were swept that had been asleep; their files are swept where
  // snapshots are kept (image/snapshot/store.h).
  Result<std::vector<Stored>> list(bool* expired = nullptr) const;

  // How many folders there are, whatever has become of their sessions; the most that a size can say where that cannot
  // be read.
  std::size_t count() const;

  // By id, by name, or by the beginning of an id that no other shares, with or without "w-". Codes: not_found; gone:
  // its supervisor was killed, or its time was over while it slept, and what it left is swept now; conflict: several
  // begin so; unavailable: it does not stand yet.
  wire::Answer<Stored> find(std::string_view who) const;

  // The folder of a new session, locked. `name` may be empty. Codes: name_taken; conflict: the id is in use;
  // bad_request: a name that could be taken for an id.
  wire::Answer<OwnFolder> create(const std::string& id, const std::string& name) const;
  // That of one that is asleep, to wake it or to remove it. Waits, at most kTransitionPatienceMs, where one is falling
  // asleep or somebody else is waking it. Codes: not_found; conflict: it is awake; unavailable: that took too long.
  static constexpr std::uint64_t kTransitionPatienceMs = 60'000;
  wire::Answer<OwnFolder> take_asleep(const std::string& id) const;
  // That of one whose session.json cannot be read though it may sleep, to remove it. `who` as for find(). Code
  // not_found: there is none such.
  wire::Answer<OwnFolder> take_damaged(std::string_view who) const;

  // The folder, open; nothing is said about its life.
  Result<sys::OwnedFd> open_folder(const std::string& id) const;
  std::string path_of(const std::string& id) const { return state_ + "/sessions/" + id; }

  // The program that wakes a session (wake.h): this one, unless it is said otherwise.
  const std::string& weir() const { return weir_; }
  void set_weir(std::string program) { weir_ = std::move(program); }

 private:
  explicit Registry(std::string state) : state_(std::move(state)) {}
  enum class Life : std::uint8_t { none, starting, running, asleep, damaged, swept };
  struct Seen {
    Life life = Life::none;
    Stored stored = {};     // running, asleep; swept: what could be read
    Error why = Error("");  // damaged
  };
  Result<sys::OwnedFd> lock() const;
  void remember_expired() const;
  Result<Seen> look_at(const std::string& id) const;
  Result<std::vector<std::string>> ids() const;
  wire::Answer<std::string> resolve(std::string_view who) const;
  wire::Answer<> take_name(const std::string& name, const std::string& id) const;
  wire::Answer<std::optional<OwnFolder>> try_asleep(const std::string& id) const;

  std::string state_;
  std::string weir_ = "/proc/self/exe";
};

}  // namespace weir::session
