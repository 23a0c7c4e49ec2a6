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
  // Keys of one owner; the oldest go.
  static constexpr int kMaxKeys = 10000;

  // Makes what is not there. Requests that a daemon before this one did not finish are forgotten: nobody knows how they
  // would have ended. Errors name the path.
  static Result<Store> open(const std::string& path);

  // Of a token. What has no row is the machine owner's.
  Result<> own(Owned kind, const std::string& id, const Principal& owner);
  void disown(Owned kind, const std::string& id);
  // Fails closed: where the file cannot be read, it is nobody's but the machine owner's.
  bool is_visible(Owned kind, const std::string& id, const Principal& who);
  // The ids of a token.
  Result<std::vector<std::string>> ids_of(Owned kind, const Principal& owner);

  struct Kept {
    // fresh: it is for the caller to do, and to finish() or abandon(). answered: `reply`. running: somebody else is at
    // it. mismatch: the key was used for something else.
    enum class State : std::uint8_t { fresh, answered, running, mismatch } state = State::fresh;
    Reply reply = {};
  };
  // `request`: a digest of what is asked for. `now`: seconds since 1970.
  Result<Kept> begin(const Principal& who, const std::string& key, const std::string& request, std::int64_t now);
  Result<> finish(const Principal& who, const std::string& key, const Reply& reply);
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
