// TLS in front of a connection: everything behind it speaks to one end of a pair of sockets, in the clear.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "daemon/asio.h"
#include "sys/owned_fd.h"

namespace weir::daemon {

class Tls {
 public:
  // PEM files: the certificate with its chain, and its key. TLS 1.2 and later. Errors name the file.
  static Result<std::unique_ptr<Tls>> load(const std::string& certificate, const std::string& key);
  ~Tls();

  // Makes the handshake (10 s) and gives what is to be served; not valid where there is none. What comes and goes is
  // carried by a coroutine of its own, with bounded buffers, until either side has ended.
  Task<sys::OwnedFd> accept(Executor executor, sys::OwnedFd socket) const;

 private:
  struct Context;
  explicit Tls(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

}  // namespace weir::daemon
