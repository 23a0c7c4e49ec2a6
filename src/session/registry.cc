#include "session/registry.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "base/json.h"
#include "base/json_document.h"
#include "session/state_folder.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"
#include "sys/pending_file.h"
#include "sys/reactor.h"
#include "wire/json_fields.h"

namespace weir::session {

namespace {

using wire::Answer;
using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kMaxStored = 4u << 20;  // session.json: a request line, and what is said of it
constexpr std::size_t kMaxName = 64;          // a file in names/: an id
constexpr std::size_t kIdLength = 10;
constexpr const char* kDocument = "session.json";
constexpr const char* kLock = "lock";
constexpr const char* kExpired = ".expired";  // beside the folders: the time of one that slept was over
// Of one that falls asleep (supervisor/session/sleep_plan.h, supervisor/session/session_sleep.cc).
constexpr std::string_view kPlan = "plan.json";
constexpr std::string_view kSleptPrefix = "slept-";
constexpr timespec kLookAgain{.tv_sec = 0, .tv_nsec = 10'000'000};

std::string sessions_of(const std::string& state) {
  return state + "/sessions";
}
std::string name_file(const std::string& state, const std::string& name) {
  return state + "/names/" + name;
}

// Others must not be able to put a folder of theirs in the place of one.
Result<> make_private(const std::string& path) {
  WEIR_CHECK_OK(sys::make_folders(path));
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return sys::errno_error("cannot look at " + path);
  if (S_ISDIR(status.st_mode) && status.st_uid == ::geteuid() && (status.st_mode & 077) == 0) return {};
  return std::unexpected(Error(path + " is open to others than its owner, so the sessions in it could be anybody's")
                             .with_remedy("chmod 700 " + path + ", after a look at who owns it"));
}

Result<> lock_whole(const sys::OwnedFd& fd, const std::string& path) {
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return sys::errno_error("cannot lock " + path);
  }
  return {};
}

Result<sys::OwnedFd> lock_registry(const std::string& state) {
  const std::string path = sessions_of(state) + "/.lock";
  WEIR_TRY(sys::OwnedFd fd, sys::checked_fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600),
                                            "cannot open " + path));
  WEIR_CHECK_OK(lock_whole(fd, path));
  return fd;
}

Result<sys::OwnedFd> open_lock(const sys::OwnedFd& folder, int flags) {
  return sys::checked_fd(::openat(folder.get(), kLock, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600),
                         "cannot open the lock of a session");
}

// True: it is held from here on. False: somebody else holds it.
Result<bool> try_lock(const sys::OwnedFd& lock) {
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) return sys::errno_error("cannot lock a session");
  }
  return true;
}

// What a new owner holds from here on.
Result<sys::OwnedFd> take_lock(const Result<sys::OwnedFd>& folder, int flags) {
  if (!folder) return std::unexpected(folder.error());
  WEIR_TRY(sys::OwnedFd lock, open_lock(*folder, flags));
  WEIR_TRY(const bool own, try_lock(lock));
  if (!own) return fail("somebody else holds the lock of the session", EWOULDBLOCK);
  return lock;
}

Result<Stored> read_stored(const std::string& folder) {
  WEIR_TRY(const std::string text, sys::read_file(folder + "/" + kDocument, kMaxStored));
  WEIR_TRY(const Json document, parse_json(text));
  const Json* const session = json_member(document, "session");
  if (session == nullptr) return fail("no session in " + folder);
  Stored stored;
  WEIR_TRY(stored.info, wire::parse_session(session->dump()));
  wire::JsonFields fields(document);
  WEIR_CHECK_OK(fields.number("expires_at", stored.expires_at));
  return stored;
}

// There is something in its folder that only those that sleep leave.
bool may_sleep(const sys::OwnedFd& folder) {
  const sys::Folder entries =
      sys::folder_of(sys::OwnedFd(::openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (entries == nullptr) return true;
  while (const dirent* entry = sys::next_entry(entries)) {
    const std::string_view name = entry->d_name;
    if (name == kPlan || name.starts_with(kSleptPrefix)) return true;
  }
  return errno != 0;
}

bool has_expired(const Stored& stored) {
  return stored.expires_at != 0 && static_cast<std::uint64_t>(::time(nullptr)) >= stored.expires_at;
}

std::string id_in(const std::string& path) {
  const auto text = sys::read_file(path, kMaxName);
  return text ? *text : std::string();
}

// Only while it leads to this session.
void give_up_name(const std::string& state, const std::string& id) {
  const sys::Folder names(::opendir((state + "/names").c_str()));
  if (names == nullptr) return;
  while (const dirent* entry = sys::next_entry(names)) {
    const std::string path = name_file(state, entry->d_name);
    if (id_in(path) == id) ::unlink(path.c_str());
  }
}

// Everything in it is a file of weir's. The lock goes last but for the folder: what is left of an interrupted removal
// is swept.
void empty_folder(const std::string& path) {
  const sys::Folder entries(::opendir(path.c_str()));
  if (entries == nullptr) return;
  while (const dirent* entry = sys::next_entry(entries)) ::unlinkat(::dirfd(entries.get()), entry->d_name, 0);
  ::rmdir(path.c_str());
}

std::unexpected<wire::Refusal> internal(const Error& error) {
  return refuse(ErrorCode::internal, error);
}

std::unexpected<wire::Refusal> not_found(std::string_view who) {
  return refuse(ErrorCode::not_found, "there is no session '" + std::string(who.substr(0, 100)) + "'",
                "weir ps lists them");
}

std::unexpected<wire::Refusal> is_damaged(const std::string& id, const Error& why) {
  return refuse(ErrorCode::internal, "what session " + id + " says of itself cannot be read: " + why.what(),
                "weir session rm " + id + " removes it with its files");
}

}  // namespace

bool is_session_id(std::string_view text) {
  return text.size() == kIdLength && text.starts_with("w-") &&
         text.find_first_not_of("0123456789abcdef", 2) == std::string_view::npos;
}

Result<> OwnFolder::write(const Stored& stored) const {
  JsonWriter json;
  json.begin_object();
  wire::write_session(json.key("session"), stored.info);
  json.field("expires_at", stored.expires_at).end_object();
  const std::string text = json.text() + "\n";
  if (stored.info.state == kAsleep) return put(kDocument, as_bytes(text));
  // What runs does not outlive the machine: to wait for the disk here is to wait for nothing.
  const std::string path = path_of(kDocument);
  WEIR_TRY(const sys::PendingFile file, sys::PendingFile::prepare(path));
  return file.write([&](const sys::OwnedFd& fd) { return sys::write_whole(fd, path, as_bytes(text)); }, 0600);
}

Result<> OwnFolder::put(const std::string& name, Bytes content) const {
  WEIR_TRY(const sys::PendingFile file, sys::PendingFile::prepare(path_of(name)));
  return file.write(content);
}

void OwnFolder::keep_only(std::span<const std::string> names) const {
  const sys::Folder entries(::opendir(path_.c_str()));
  if (entries == nullptr) return;
  while (const dirent* entry = sys::next_entry(entries)) {
    const std::string_view name = entry->d_name;
    if (name == kDocument || name == kLock || std::ranges::find(names, name) != names.end()) continue;
    ::unlinkat(::dirfd(entries.get()), entry->d_name, 0);
  }
}

void OwnFolder::let_go() {
  lock_.reset();
  folder_.reset();
}

void OwnFolder::remove() {
  if (!lock_.valid()) return;
  // Without the lock of all somebody else could be taking the name just now: whoever comes next sweeps.
  if (const auto all = lock_registry(state_)) {
    give_up_name(state_, id_);
    empty_folder(path_);
  }
  lock_.reset();
  folder_.reset();
}

Result<Registry> Registry::open() {
  auto state = state_folder();
  if (!state) return std::unexpected(std::move(state).error().context("there is no folder for sessions"));
  return open(std::move(*state));
}

Result<Registry> Registry::open(std::string state) {
  WEIR_CHECK_OK(make_private(sessions_of(state)));
  WEIR_CHECK_OK(make_private(state + "/names"));
  return Registry(std::move(state));
}

Result<sys::OwnedFd> Registry::lock() const {
  return lock_registry(state_);
}

Result<sys::OwnedFd> Registry::open_folder(const std::string& id) const {
  return sys::checked_fd(::open(path_of(id).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                         "cannot open the folder of session " + id);
}

Result<std::vector<std::string>> Registry::ids() const {
  const std::string path = sessions_of(state_);
  const sys::Folder entries(::opendir(path.c_str()));
  if (entries == nullptr) return sys::errno_error("cannot list " + path);
  std::vector<std::string> found;
  while (const dirent* entry = sys::next_entry(entries)) {
    if (is_session_id(entry->d_name)) found.emplace_back(entry->d_name);
  }
  if (errno != 0) return sys::errno_error("cannot list " + path);
  return found;
}

// The caller holds lock(). What nobody holds and does not sleep is removed here: only when its lock was taken, or it
// has none. Whoever could not look (EMFILE ...) knows nothing about it.
Result<Registry::Seen> Registry::look_at(const std::string& id) const {
  const auto folder = open_folder(id);
  if (!folder && folder.error().code() != ENOENT) return std::unexpected(folder.error());
  if (!folder) return Seen{};
  const auto held = open_lock(*folder, 0);
  if (!held && held.error().code() != ENOENT) return std::unexpected(held.error());
  bool free = true;
  if (held) {
    WEIR_TRY(free, try_lock(*held));
  }
  auto stored = read_stored(path_of(id));
  if (!stored && sys::is_exhaustion(stored.error().code())) return std::unexpected(stored.error());
  if (!free && !stored) return Seen{.life = Life::starting};
  if (!free) return Seen{.life = Life::running, .stored = std::move(*stored)};
  if (stored && stored->info.state == kAsleep && !has_expired(*stored))
    return Seen{.life = Life::asleep, .stored = std::move(*stored)};
  // What may be all that there is of a session goes only when somebody says so.
  if (!stored && stored.error().code() != ENOENT && may_sleep(*folder))
    return Seen{.life = Life::damaged, .stored = {}, .why = stored.error()};
  if (stored && stored->info.state == kAsleep) remember_expired();
  give_up_name(state_, id);
  empty_folder(path_of(id));
  return Seen{.life = Life::swept, .stored = stored ? std::move(*stored) : Stored{}};
}

// Its files are elsewhere, where this room does not go: whoever lists next has them swept.
void Registry::remember_expired() const {
  const std::string path = sessions_of(state_) + "/" + kExpired;
  const sys::OwnedFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
}

Result<std::vector<Stored>> Registry::list(bool* expired) const {
  WEIR_TRY(const sys::OwnedFd held, lock());
  WEIR_TRY(const std::vector<std::string> all, ids());
  std::vector<Stored> found;
  for (const std::string& id : all) {
    WEIR_TRY(Seen seen, look_at(id));
    if (seen.life == Life::running || seen.life == Life::asleep) found.push_back(std::move(seen.stored));
  }
  const std::string left = sessions_of(state_) + "/" + kExpired;
  if (expired != nullptr) *expired = ::unlink(left.c_str()) == 0;
  std::ranges::sort(found, {}, [](const Stored& each) { return std::pair(each.info.created, each.info.id); });
  return found;
}

Answer<std::string> Registry::resolve(std::string_view who) const {
  if (is_session_id(who)) return std::string(who);
  if (who.empty() || who.find('/') != std::string_view::npos || who.starts_with('.')) return not_found(who);
  const std::string named = id_in(name_file(state_, std::string(who)));
  if (is_session_id(named)) return named;
  const std::string beginning = who.starts_with("w-") ? std::string(who) : "w-" + std::string(who);
  const auto all = ids();
  if (!all) return internal(all.error());
  std::string found;
  for (const std::string& id : *all) {
    if (beginning.size() <= 2 || !id.starts_with(beginning)) continue;
    if (!found.empty())
      return refuse(ErrorCode::conflict, "several sessions begin with '" + std::string(who) + "'", "write more of it");
    found = id;
  }
  if (found.empty()) return not_found(who);
  return found;
}

std::size_t Registry::count() const {
  const auto all = ids();
  return all ? all->size() : std::numeric_limits<std::size_t>::max();
}

Answer<Stored> Registry::find(std::string_view who) const {
  const auto held = lock();
  if (!held) return internal(held.error());
  WEIR_TRY(const std::string id, resolve(who));
  auto seen = look_at(id);
  if (!seen) return internal(seen.error());
  switch (seen->life) {
    case Life::none:
      return not_found(who);
    case Life::swept:
      return refuse(ErrorCode::gone,
                    "session " + id + " is gone: " +
                        (seen->stored.info.state == kAsleep ? "its time was over" : "its supervisor was killed"),
                    "weir session create makes another");
    case Life::damaged:
      return is_damaged(id, seen->why);
    case Life::starting:
      return refuse(ErrorCode::unavailable, "session " + id + " does not stand yet", "ask again in a moment");
    case Life::running:
    case Life::asleep:
      break;
  }
  return std::move(seen->stored);
}

Answer<> Registry::take_name(const std::string& name, const std::string& id) const {
  const std::string path = name_file(state_, name);
  for (int attempt = 0;; ++attempt) {
    const sys::OwnedFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.valid()) {
      if (auto written = sys::write_whole(file, path, as_bytes(id)); !written) {
        ::unlink(path.c_str());
        return internal(written.error());
      }
      return {};
    }
    if (errno != EEXIST) return internal(sys::errno_error("cannot make " + path).error());
    const auto named = sys::read_file(path, kMaxName);
    if (!named && named.error().code() != ENOENT) return internal(named.error());
    const std::string other = named ? *named : std::string();
    const auto seen = is_session_id(other) ? look_at(other) : Seen{};
    if (!seen) return internal(seen.error());
    const Life life = seen->life;
    if (attempt != 0 || (life != Life::none && life != Life::swept)) {
      return refuse(ErrorCode::name_taken, "the name '" + name + "' is that of session " + other,
                    "choose another, or end that one: weir stop " + name);
    }
    // What a killed one left.
    ::unlink(path.c_str());
  }
}

Answer<OwnFolder> Registry::create(const std::string& id, const std::string& name) const {
  if (!is_session_id(id)) return internal(Error("'" + id + "' is no id of a session"));
  if (name.starts_with("w-") || name.starts_with('.') || name.find('/') != std::string::npos) {
    return refuse(ErrorCode::bad_request, "the name '" + name + "' could be taken for an id",
                  "choose one that does not begin with w-");
  }
  const auto held = lock();
  if (!held) return internal(held.error());
  if (::mkdir(path_of(id).c_str(), 0700) != 0) {
    if (errno == EEXIST) return refuse(ErrorCode::conflict, "there is a session " + id);
    return internal(sys::errno_error("cannot make " + path_of(id)).error());
  }
  auto folder = open_folder(id);
  auto own = take_lock(folder, O_CREAT | O_EXCL);
  if (!own) {
    empty_folder(path_of(id));
    return internal(own.error());
  }
  if (!name.empty()) {
    if (auto taken = take_name(name, id); !taken) {
      empty_folder(path_of(id));
      return std::unexpected(taken.error());
    }
  }
  return OwnFolder(state_, id, std::move(*folder), std::move(*own));
}

// Nothing: it sleeps by now, or wakes, in a moment.
Answer<std::optional<OwnFolder>> Registry::try_asleep(const std::string& id) const {
  const auto held = lock();
  if (!held) return internal(held.error());
  const auto seen = look_at(id);
  if (!seen) return internal(seen.error());
  const bool in_between = seen->life == Life::running && seen->stored.info.state == kAsleep;
  if (in_between) return std::optional<OwnFolder>();
  if (seen->life == Life::starting || seen->life == Life::running)
    return refuse(ErrorCode::conflict, "session " + id + " is awake already");
  if (seen->life == Life::damaged) return is_damaged(id, seen->why);
  if (seen->life != Life::asleep) return not_found(id);
  auto folder = open_folder(id);
  auto own = take_lock(folder, O_CREAT);
  if (!own) return internal(own.error());
  return std::optional(OwnFolder(state_, id, std::move(*folder), std::move(*own)));
}

Answer<OwnFolder> Registry::take_damaged(std::string_view who) const {
  const auto held = lock();
  if (!held) return internal(held.error());
  WEIR_TRY(const std::string id, resolve(who));
  const auto seen = look_at(id);
  if (!seen) return internal(seen.error());
  if (seen->life != Life::damaged) return not_found(id);
  auto folder = open_folder(id);
  auto own = take_lock(folder, O_CREAT);
  if (!own) return internal(own.error());
  return OwnFolder(state_, id, std::move(*folder), std::move(*own));
}

Answer<OwnFolder> Registry::take_asleep(const std::string& id) const {
  if (!is_session_id(id)) return not_found(id);
  const std::uint64_t deadline = sys::monotonic_ms() + kTransitionPatienceMs;
  while (true) {
    WEIR_TRY(auto folder, try_asleep(id));
    if (folder) return std::move(*folder);
    if (sys::monotonic_ms() > deadline) {
      return refuse(ErrorCode::unavailable, "session " + id + " is falling asleep or waking, and does not come to it",
                    "ask again in a moment");
    }
    ::nanosleep(&kLookAgain, nullptr);
  }
}

}  // namespace weir::session
