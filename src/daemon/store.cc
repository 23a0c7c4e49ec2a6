#include "daemon/store.h"

#include <sqlite3.h>

#include "base/json.h"
#include "base/json_document.h"

namespace weir::daemon {

namespace {

constexpr const char* kSchema =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = NORMAL;"
    "CREATE TABLE IF NOT EXISTS owners (kind TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL,"
    "  PRIMARY KEY (kind, id)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS answers (owner TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL,"
    "  at INTEGER NOT NULL, status INTEGER, type TEXT, location TEXT, body TEXT, PRIMARY KEY (owner, key));"
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

Result<> Store::own(Owned kind, const std::string& id, const Principal& owner) {
  if (owner.is_owner()) return {};
  return run("INSERT OR REPLACE INTO owners (kind, id, owner) VALUES (?, ?, ?)", {name_of(kind), id, owner.name});
}

void Store::disown(Owned kind, const std::string& id) {
  // A row without its session gives nobody anything.
  static_cast<void>(run("DELETE FROM owners WHERE kind = ? AND id = ?", {name_of(kind), id}));
}

bool Store::is_visible(Owned kind, const std::string& id, const Principal& who) {
  if (who.is_owner()) return true;
  if (who.kind != Principal::Kind::token) return false;
  auto statement = prepare("SELECT 1 FROM owners WHERE kind = ? AND id = ? AND owner = ?");
  if (!statement) return false;
  statement->bind(1, name_of(kind));
  statement->bind(2, id);
  statement->bind(3, who.name);
  return statement->step() == SQLITE_ROW;
}

Result<std::vector<std::string>> Store::ids_of(Owned kind, const Principal& owner) {
  WEIR_TRY(Statement statement, prepare("SELECT id FROM owners WHERE kind = ? AND owner = ?"));
  statement.bind(1, name_of(kind));
  statement.bind(2, owner.name);
  std::vector<std::string> ids;
  int outcome = SQLITE_DONE;
  while ((outcome = statement.step()) == SQLITE_ROW) ids.push_back(statement.text(0));
  if (outcome != SQLITE_DONE) return failed("cannot read the daemon's state");
  return ids;
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
    WEIR_TRY(Statement statement, prepare("UPDATE answers SET status = ?, type = ?, location = ?, body = ?"
                                          " WHERE owner = ? AND key = ?"));
    statement.bind(1, static_cast<std::int64_t>(reply.status));
    statement.bind(2, reply.type);
    statement.bind(3, location_of(reply));
    statement.bind(4, reply.body);
    statement.bind(5, owner);
    statement.bind(6, key);
    if (statement.step() != SQLITE_DONE) return failed("cannot write the daemon's state");
  }
  // One owner's keys must not fill the disk of all.
  WEIR_TRY(Statement trim, prepare("DELETE FROM answers WHERE owner = ?1 AND status IS NOT NULL AND at < (SELECT at"
                                   " FROM answers WHERE owner = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)"));
  trim.bind(1, owner);
  trim.bind(2, static_cast<std::int64_t>(kMaxKeys));
  if (trim.step() != SQLITE_DONE) return failed("cannot write the daemon's state");
  return {};
}

void Store::abandon(const Principal& who, const std::string& key) {
  static_cast<void>(run("DELETE FROM answers WHERE owner = ? AND key = ? AND status IS NULL", {owner_key(who), key}));
}

}  // namespace weir::daemon
