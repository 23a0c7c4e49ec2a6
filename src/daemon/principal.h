// Who asks.
#pragma once

#include <cstdint>
#include <string>

namespace weir::daemon {

struct Principal {
  // nobody: no token, or one that is not known. owner: came by the unix socket; everything of this user's is theirs.
  enum class Kind : std::uint8_t { nobody, token, owner };
  enum class Rights : std::uint8_t { look, change };

  Kind kind = Kind::nobody;
  std::string name = {};  // of the token; empty for the others
  Rights rights = Rights::look;

  bool is_owner() const { return kind == Kind::owner; }
};

inline Principal machine_owner() {
  return {.kind = Principal::Kind::owner, .rights = Principal::Rights::change};
}

}  // namespace weir::daemon
