// A unix socket in the file system that only its owner can speak to.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

class UnixListener {
 public:
  // SOCK_STREAM, non-blocking, mode 0600 from birth. Errors, which name the path: something is there already; the
  // folder is not this user's own or others may write it; the path is longer than an address can hold.
  static Result<UnixListener> create(const std::string& path);
  // The same in a folder that is open already, however long its path is. connect_unix_in() reaches it.
  static Result<UnixListener> create_in(OwnedFd folder, const std::string& name);
  // Removes its name, unless something else has it by now.
  ~UnixListener();
  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) noexcept = default;

  int fd() const { return socket_.get(); }

  // From here on nobody can connect (ECONNREFUSED); who has, and was not accepted yet, still can be.
  void shut();
  // After shut(): a new socket of the same name, for whoever comes next. fd() is another one then.
  Result<> open_again();

  struct Accepted {
    OwnedFd socket;  // non-blocking; not valid when nobody waits
    // By SO_PEERCRED: the process that connected, seen from here. One of the same user that lives in a pid namespace
    // below is another: what runs in a sandbox has its user's id outside, and may see the socket in a shared folder.
    // One that has ended by now is another, too: its number may be somebody else's.
    enum class Peer : std::uint8_t { same_user, another };
    Peer peer = Peer::another;
  };
  Accepted accept() const;

 private:
  UnixListener(OwnedFd folder, OwnedFd socket, std::string name)
      : folder_(std::move(folder)), socket_(std::move(socket)), name_(std::move(name)) {}
  static Result<UnixListener> create_as(OwnedFd folder, const std::string& name, const std::string& path);
  Result<> bind(const std::string& path);
  void remove_name();

  OwnedFd folder_;
  OwnedFd socket_;
  std::string name_;  // in the folder
  dev_t device_ = 0;
  ino_t inode_ = 0;  // of the name; 0: it was never made
};

// A blocking stream connected to the socket at `path`. Errors name it.
Result<OwnedFd> connect_unix(const std::string& path);
// Where as many wait to be accepted as the listener takes.
enum class WhenFull : std::uint8_t {
  wait,    // for as long as it takes
  refuse,  // EAGAIN, at once; and the socket is non-blocking
};
// The same to `name` in an open folder.
Result<OwnedFd> connect_unix_in(const OwnedFd& folder, const std::string& name, WhenFull when_full = WhenFull::wait);

}  // namespace weir::sys
