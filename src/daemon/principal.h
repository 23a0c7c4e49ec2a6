// Who asks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::daemon {

struct Principal {
  // nobody: no token, or one that is not known. owner: came by the unix socket; everything of this user's is theirs.
  enum class Kind : std::uint8_t { nobody, token, owner };
  enum class Rights : std::uint8_t { look, change };

  Kind kind = Kind::nobody;
  std::string name = {};  // of the token; empty for the others
  Rights rights = Rights::look;

  bool operator==(const Principal&) const = default;
  bool is_owner() const { return kind == Kind::owner; }
};

// Of the machine's owner, where things are kept by who they belong to: no token's name has a slash.
inline constexpr std::string_view kMachineOwnerKey = "/";

inline std::string owner_key(const Principal& who) {
  return who.is_owner() ? std::string(kMachineOwnerKey) : who.name;
}

inline Principal machine_owner() {
  return {.kind = Principal::Kind::owner, .rights = Principal::Rights::change};
}

}  // namespace weir::daemon
