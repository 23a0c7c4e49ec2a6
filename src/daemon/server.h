// Listening, accepting, ending.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/dispatch.h"
#include "sys/unix_listener.h"

namespace weir::daemon {

class Tls;

// A socket that listens, and who comes by it.
struct Door {
  sys::OwnedFd socket;
  // Removes its name when it goes; `socket` is a duplicate of its own.
  std::optional<sys::UnixListener> named = {};
  enum class Kind : std::uint8_t { owner, tokens } kind = Kind::owner;
  std::string where = {};  // for people
};

// Sockets that a service manager has opened (sd_listen_fds(3)), the unix socket, the TCP one: what the configuration
// says. A unix socket that is there is replaced when nobody answers on it. Errors name the place.
Result<std::vector<Door>> open_doors(const Config& config);

struct Server {
  Daemon& daemon;
  RequestLog& log;
  Tokens* tokens = nullptr;  // null: there are none; read anew where their file is
  const Tls* tls = nullptr;  // null: in the clear
  std::vector<Door> doors = {};
  std::size_t turned_away = 0;  // that are just being told so
};

// Reads the file of the tokens again. Who is not in it any more, or may do less, loses what is being answered, too.
// What cannot be read changes nothing.
Result<> reload_tokens(Server& server, const std::string& path);

// Accepts until the daemon is ending.
Task<> accept_all(Server& server, std::size_t door);

}  // namespace weir::daemon
