#include "daemon/store.h"

#include <sqlite3.h>

#include <cerrno>

#include "base/json.h"
#include "base/json_document.h"

namespace weir::daemon {

namespace {

constexpr const char* kSchema =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = NORMAL;"
    "CREATE TABLE IF NOT EXISTS things (kind TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL,"
    "  name TEXT NOT NULL, begun INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX IF NOT EXISTS things_by_name ON things (kind, owner, name) WHERE name <> '';"
    "CREATE INDEX IF NOT EXISTS things_by_owner ON things (kind, owner);"
    "CREATE TABLE IF NOT EXISTS answers (owner TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL,"
    "  at INTEGER NOT NULL, status INTEGER, type TEXT, location TEXT, body TEXT, bytes INTEGER, PRIMARY KEY (owner, "
    "key));"
    "CREATE INDEX IF NOT EXISTS answers_by_time ON answers (at);"
    "DELETE FROM answers WHERE status IS NULL;";

constexpr int kBusyMs = 2000;

std::string_view name_of(Owned kind) {
  return kind == Owned::session ? "session" : "snapshot";
}

std::string location_of(const Reply& reply) {
  for (const auto& [name, value] : reply.headers) {
    if (name == "Location") return value;
  }
  return {};
}

}  // namespace

void Store::Close::operator()(sqlite3* database) const {
  sqlite3_close(database);
}

class Store::Statement {
 public:
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  Statement(Statement&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
  Statement& operator=(Statement&&) = delete;
  ~Statement() { sqlite3_finalize(statement_); }

  void bind(int at, std::string_view text) {
    sqlite3_bind_text64(statement_, at, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  void bind(int at, std::int64_t number) { sqlite3_bind_int64(statement_, at, number); }
  // SQLITE_ROW, SQLITE_DONE, or what went wrong.
  int step() { return sqlite3_step(statement_); }
  std::string text(int column) const {
    const unsigned char* bytes = sqlite3_column_text(statement_, column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
    return bytes == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(bytes), size);
  }
  std::int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }
  bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

 private:
  sqlite3_stmt* statement_;
};

std::unexpected<Error> Store::failed(const char* what) const {
  return std::unexpected(Error(std::string(what) + ": " + sqlite3_errmsg(database_.get()))
                             .with_remedy("look at the disk of the state folder"));
}

Result<Store::Statement> Store::prepare(const char* text) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_.get(), text, -1, &statement, nullptr) != SQLITE_OK) {
    return failed("cannot use the daemon's state");
  }
  return Statement(statement);
}

Result<> Store::execute(const char* text) {
  if (sqlite3_exec(database_.get(), text, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return failed("cannot prepare the daemon's state");
}

Result<> Store::run(const char* text, std::initializer_list<std::string_view> values) {
  WEIR_TRY(Statement statement, prepare(text));
  int at = 0;
  for (const std::string_view value : values) statement.bind(++at, value);
  if (statement.step() != SQLITE_DONE) return failed("cannot write the daemon's state");
  return {};
}

Result<Store> Store::open(const std::string& path) {
  sqlite3* database = nullptr;
  const int opened = sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  Store store(database);
  if (opened != SQLITE_OK) return in_context(Result<Store>(store.failed("cannot open it")), path);
  sqlite3_busy_timeout(database, kBusyMs);
  if (const auto made = store.execute(kSchema); !made) {
    return in_context(Result<Store>(std::unexpected(made.error())), path);
  }
  return store;
}

Result<> Store::note(Owned kind, const Thing& thing, const Principal& owner) {
  if (owner.is_owner()) return {};
  WEIR_TRY(Statement statement, prepare("INSERT INTO things (kind, id, owner, name, begun) VALUES (?, ?, ?, ?, ?)"));
  statement.bind(1, name_of(kind));
  statement.bind(2, thing.id);
  statement.bind(3, owner.name);
  statement.bind(4, thing.name);
  statement.bind(5, thing.begun);
  const int outcome = statement.step();
  if (outcome == SQLITE_CONSTRAINT) return std::unexpected(Error("there is one already", EEXIST));
  if (outcome != SQLITE_DONE) return failed("cannot write the daemon's state");
  return {};
}

Result<> Store::set_made(Owned kind, const std::string& id) {
  return run("UPDATE things SET begun = 0 WHERE kind = ? AND id = ?", {name_of(kind), id});
}

Result<> Store::unname(Owned kind, const std::string& id) {
  return run("UPDATE things SET name = '' WHERE kind = ? AND id = ?", {name_of(kind), id});
}

void Store::disown(Owned kind, const std::string& id) {
  // A row without its session gives nobody anything.
  static_cast<void>(run("DELETE FROM things WHERE kind = ? AND id = ?", {name_of(kind), id}));
}

bool Store::is_visible(Owned kind, const std::string& id, const Principal& who) {
  if (who.is_owner()) return true;
  if (who.kind != Principal::Kind::token) return false;
  auto statement = prepare("SELECT 1 FROM things WHERE kind = ? AND id = ? AND owner = ?");
  if (!statement) return false;
  statement->bind(1, name_of(kind));
  statement->bind(2, id);
  statement->bind(3, who.name);
  return statement->step() == SQLITE_ROW;
}

Result<std::vector<Store::Thing>> Store::things_of(Owned kind, const Principal& owner) {
  WEIR_TRY(Statement statement, prepare("SELECT id, name, begun FROM things WHERE kind = ? AND owner = ?"));
  statement.bind(1, name_of(kind));
  statement.bind(2, owner.name);
  std::vector<Thing> things;
  int outcome = SQLITE_DONE;
  while ((outcome = statement.step()) == SQLITE_ROW) {
    things.push_back({.id = statement.text(0), .name = statement.text(1), .begun = statement.number(2)});
  }
  if (outcome != SQLITE_DONE) return failed("cannot read the daemon's state");
  return things;
}

std::string Store::id_called(Owned kind, const std::string& name, const Principal& owner) {
  if (owner.kind != Principal::Kind::token || name.empty()) return {};
  auto statement = prepare("SELECT id FROM things WHERE kind = ?1 AND owner = ?2 AND (id = ?3 OR name = ?3)");
  if (!statement) return {};
  statement->bind(1, name_of(kind));
  statement->bind(2, owner.name);
  statement->bind(3, name);
  return statement->step() == SQLITE_ROW ? statement->text(0) : std::string();
}

std::optional<Store::Whose> Store::whose(Owned kind, const std::string& id) {
  auto statement = prepare("SELECT owner, name FROM things WHERE kind = ? AND id = ?");
  if (!statement) return std::nullopt;
  statement->bind(1, name_of(kind));
  statement->bind(2, id);
  if (statement->step() != SQLITE_ROW) return std::nullopt;
  return Whose{.owner = statement->text(0), .name = statement->text(1)};
}

Result<Store::Kept> Store::begin(const Principal& who, const std::string& key, const std::string& request,
                                 std::int64_t now) {
  const std::string owner = owner_key(who);
  {
    WEIR_TRY(Statement old, prepare("DELETE FROM answers WHERE at < ?"));
    old.bind(1, now - kKeptSeconds);
    if (old.step() != SQLITE_DONE) return failed("cannot write the daemon's state");
  }
  {
    WEIR_TRY(Statement known,
             prepare("SELECT request, status, type, location, body FROM answers WHERE owner = ? AND key = ?"));
    known.bind(1, owner);
    known.bind(2, key);
    const int outcome = known.step();
    if (outcome == SQLITE_ROW) {
      if (known.text(0) != request) return Kept{.state = Kept::State::mismatch};
      if (known.is_null(1)) return Kept{.state = Kept::State::running};
      Reply reply{.status = static_cast<unsigned>(known.number(1)), .type = known.text(2), .body = known.text(4)};
      if (const std::string location = known.text(3); !location.empty()) {
        reply.headers.emplace_back("Location", location);
      }
      return Kept{.state = Kept::State::answered, .reply = std::move(reply)};
    }
    if (outcome != SQLITE_DONE) return failed("cannot read the daemon's state");
  }
  WEIR_TRY(Statement fresh, prepare("INSERT INTO answers (owner, key, request, at) VALUES (?, ?, ?, ?)"));
  fresh.bind(1, owner);
  fresh.bind(2, key);
  fresh.bind(3, request);
  fresh.bind(4, now);
  if (fresh.step() != SQLITE_DONE) return failed("cannot write the daemon's state");
  return Kept{};
}

Result<> Store::finish(const Principal& who, const std::string& key, const Reply& reply) {
  const std::string owner = owner_key(who);
  {
    WEIR_TRY(Statement statement, prepare("UPDATE answers SET status = ?, type = ?, location = ?, body = ?, bytes = ?"
                                          " WHERE owner = ? AND key = ?"));
    statement.bind(1, static_cast<std::int64_t>(reply.status));
    statement.bind(2, reply.type);
    statement.bind(3, location_of(reply));
    statement.bind(4, reply.body);
    statement.bind(5, static_cast<std::int64_t>(reply.body.size()));
    statement.bind(6, owner);
    statement.bind(7, key);
    if (statement.step() != SQLITE_DONE) return failed("cannot write the daemon's state");
  }
  // One owner's keys must not fill the disk of all.
  WEIR_TRY(Statement trim, prepare("DELETE FROM answers WHERE owner = ?1 AND status IS NOT NULL AND at < (SELECT at"
                                   " FROM answers WHERE owner = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)"));
  trim.bind(1, owner);
  trim.bind(2, static_cast<std::int64_t>(kMaxKeys));
  if (trim.step() != SQLITE_DONE) return failed("cannot write the daemon's state");
  WEIR_TRY(Statement shrink,
           prepare("DELETE FROM answers WHERE owner = ?1 AND status IS NOT NULL AND rowid IN (SELECT rowid FROM (SELECT"
                   " rowid, SUM(bytes) OVER (ORDER BY at DESC, rowid DESC) AS total FROM answers WHERE owner = ?1 AND"
                   " status IS NOT NULL) WHERE total > ?2)"));
  shrink.bind(1, owner);
  shrink.bind(2, kMaxAnswers);
  if (shrink.step() != SQLITE_DONE) return failed("cannot write the daemon's state");
  return {};
}

std::uint64_t Store::answer_bytes(const Principal& who) {
  auto statement = prepare("SELECT SUM(bytes) FROM answers WHERE owner = ?");
  if (!statement) return 0;
  statement->bind(1, owner_key(who));
  return statement->step() == SQLITE_ROW ? static_cast<std::uint64_t>(statement->number(0)) : 0;
}

void Store::abandon(const Principal& who, const std::string& key) {
  static_cast<void>(run("DELETE FROM answers WHERE owner = ? AND key = ? AND status IS NULL", {owner_key(who), key}));
}

}  // namespace weir::daemon
