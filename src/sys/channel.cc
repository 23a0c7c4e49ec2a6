#include "sys/channel.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "sys/errno.h"

namespace weir::sys {

Result<std::pair<Channel, Channel>> Channel::pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    return errno_error("cannot make a socket pair");
  }
  return std::pair(Channel(OwnedFd(ends[0])), Channel(OwnedFd(ends[1])));
}

Result<std::size_t> Channel::send_some(Bytes message, std::span<const int> passed) {
  WEIR_ASSERT(passed.size() <= kMaxPassed);
  iovec part{.iov_base = const_cast<std::uint8_t*>(message.data()), .iov_len = message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(kMaxPassed * sizeof(int))> control;
  if (!passed.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(passed.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(passed.size_bytes());
    std::memcpy(CMSG_DATA(rights), passed.data(), passed.size_bytes());
  }
  const ssize_t sent = ::sendmsg(fd_.get(), &header, MSG_NOSIGNAL);
  if (sent < 0) return errno_error("cannot send a message");
  return static_cast<std::size_t>(sent);
}

Result<> Channel::send(Bytes message, std::span<const int> passed) {
  WEIR_CHECK_OK(send_some(message, passed));
  return {};
}

Result<> Channel::send_plain(Bytes message) {
  if (::write(fd_.get(), message.data(), message.size()) < 0) return errno_error("cannot send a message");
  return {};
}

Result<Channel::Received> Channel::receive(MutableBytes buffer, std::size_t most_passed) {
  using State = Received::State;
  WEIR_ASSERT(most_passed <= kMaxPassed);
  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(kMaxPassed * sizeof(int))> control;
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  // Exactly: the kernel fills the space up to its alignment, where two descriptors fit in place of one.
  header.msg_controllen = CMSG_LEN(most_passed * sizeof(int));
  constexpr int kFlags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
  ssize_t count = ::recvmsg(fd_.get(), &header, kFlags);
  // A peer that closed with messages unread: told once, and before what it sent last, which is still there.
  if (count < 0 && errno == ECONNRESET) count = ::recvmsg(fd_.get(), &header, kFlags);
  if (count < 0) {
    if (errno == EAGAIN || errno == EINTR) return Received{};
    return errno_error("cannot receive a message");
  }
  Received received{.message = buffer.first(static_cast<std::size_t>(count)),
                    .passed = {},
                    .state = count == 0 ? State::closed : State::message};
  // Take over the descriptors before anything can fail, so that none leaks.
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t offset = CMSG_LEN(0); offset + sizeof(int) <= item->cmsg_len; offset += sizeof(int)) {
      int descriptor = -1;
      std::memcpy(&descriptor, reinterpret_cast<const std::uint8_t*>(item) + offset, sizeof descriptor);
      received.passed.emplace_back(descriptor);
    }
  }
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return fail("a message was longer than the protocol allows", EMSGSIZE);
  return received;
}

}  // namespace weir::sys
