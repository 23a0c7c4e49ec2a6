// The supervisor's end of the descriptor that a command has as WEIR_SEAL.
//
// Nothing is ever read from it: that something came is all there is to know, and what came stays in a buffer that the
// kernel bounds, so that a flood costs nothing. It is never closed either: with it would go descriptors that were sent
// along, and closing a socket may take as long as its SO_LINGER says. Only the end of a process does not wait for that
// (inet_release(), PF_EXITING).
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::supervisor {

class SealDescriptor {
 public:
  // `on_byte` is called once, when a byte has come. An end without one (closed by everybody inside) asks for nothing.
  static Result<std::unique_ptr<SealDescriptor>> watch(sys::Reactor& reactor, sys::OwnedFd socket,
                                                       std::function<void()> on_byte);
  ~SealDescriptor() {
    reactor_.forget(socket_.get());
    static_cast<void>(socket_.release());
  }
  SealDescriptor(const SealDescriptor&) = delete;
  SealDescriptor& operator=(const SealDescriptor&) = delete;

  // One line, then the end: whoever reads later is not left waiting.
  void answer(std::string_view line);

 private:
  SealDescriptor(sys::Reactor& reactor, sys::OwnedFd socket, std::function<void()> on_byte);
  void look();

  sys::Reactor& reactor_;
  sys::OwnedFd socket_;
  std::function<void()> on_byte_;
  sys::CallbackHandler handler_;
};

}  // namespace weir::supervisor
