#include "supervisor/policy/seal_descriptor.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace weir::supervisor {

SealDescriptor::SealDescriptor(sys::Reactor& reactor, sys::OwnedFd socket, std::function<void()> on_byte)
    : reactor_(reactor),
      socket_(std::move(socket)),
      on_byte_(std::move(on_byte)),
      handler_([this](std::uint32_t) { look(); }) {}

Result<std::unique_ptr<SealDescriptor>> SealDescriptor::watch(sys::Reactor& reactor, sys::OwnedFd socket,
                                                              std::function<void()> on_byte) {
  std::unique_ptr<SealDescriptor> self(new SealDescriptor(reactor, std::move(socket), std::move(on_byte)));
  WEIR_CHECK_OK(reactor.watch(self->socket_.get(), EPOLLIN, self->handler_));
  return self;
}

// Looked at once: bytes, or an end. Either way there is no more to learn.
void SealDescriptor::look() {
  reactor_.forget(socket_.get());
  int bytes = 0;
  if (::ioctl(socket_.get(), SIOCINQ, &bytes) == 0 && bytes > 0) on_byte_();
}

void SealDescriptor::answer(std::string_view line) {
  // Its buffer is empty and takes far more than an answer.
  static_cast<void>(::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  ::shutdown(socket_.get(), SHUT_WR);
}

}  // namespace weir::supervisor
