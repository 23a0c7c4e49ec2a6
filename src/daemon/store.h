// What only the daemon knows: whose a session, a snapshot or a service is, and what was answered under an
// Idempotency-Key. SQLite, in a file of the user's state folder; everything else is asked of the sessions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "daemon/principal.h"
#include "daemon/reply.h"

struct sqlite3;
struct sqlite3_stmt;

namespace weir::daemon {

// What can be owned. A service is a session.
enum class Owned : std::uint8_t { session, snapshot };

class Store {
 public:
  static constexpr std::int64_t kKeptSeconds = 24 * 3600;
  // Of an answer that is kept.
  static constexpr std::size_t kMaxAnswer = 1u << 20;
  // Keys of one owner, and bytes of their answers; the oldest go.
  static constexpr int kMaxKeys = 10000;
  static constexpr std::int64_t kMaxAnswers = 64 << 20;

  // Makes what is not there. Requests that a daemon before this one did not finish are forgotten: nobody knows how they
  // would have ended. Errors name the path.
  static Result<Store> open(const std::string& path);

  // What belongs to a token, under a name that only this token sees. What has no row is the machine owner's.
  struct Thing {
    std::string id;
    std::string name = {};   // may be empty
    std::int64_t begun = 0;  // 0: it is made; else when its making began, in seconds since 1970
  };
  // Before its making begins: whatever becomes of this process, it is never anybody else's. EEXIST: this owner has
  // something of that name. Nothing for the machine's owner.
  Result<> note(Owned kind, const Thing& thing, const Principal& owner);
  Result<> set_made(Owned kind, const std::string& id);
  // Somebody else may have its name.
  Result<> unname(Owned kind, const std::string& id);
  void disown(Owned kind, const std::string& id);
  // Fails closed: where the file cannot be read, it is nobody's but the machine owner's.
  bool is_visible(Owned kind, const std::string& id, const Principal& who);
  Result<std::vector<Thing>> things_of(Owned kind, const Principal& owner);
  // What this owner calls so, by name or id; empty: nothing.
  std::string id_called(Owned kind, const std::string& name, const Principal& owner);
  struct Whose {
    std::string owner;
    std::string name;
  };
  std::optional<Whose> whose(Owned kind, const std::string& id);

  struct Kept {
    // fresh: it is for the caller to do, and to finish() or abandon(). answered: `reply`. running: somebody else is at
    // it. mismatch: the key was used for something else.
    enum class State : std::uint8_t { fresh, answered, running, mismatch } state = State::fresh;
    Reply reply = {};
  };
  // `request`: a digest of what is asked for. `now`: seconds since 1970.
  Result<Kept> begin(const Principal& who, const std::string& key, const std::string& request, std::int64_t now);
  Result<> finish(const Principal& who, const std::string& key, const Reply& reply);
  // Of answers that are kept for one owner.
  std::uint64_t answer_bytes(const Principal& who);
  void abandon(const Principal& who, const std::string& key);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  class Statement;

  explicit Store(sqlite3* database) : database_(database) {}
  Result<Statement> prepare(const char* text);
  Result<> execute(const char* text);
  Result<> run(const char* text, std::initializer_list<std::string_view> values);
  std::unexpected<Error> failed(const char* what) const;

  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace weir::daemon
