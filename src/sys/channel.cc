#include "sys/channel.h"

#include <sys/socket.h>

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

Result<> Channel::send(Bytes message, int passed) {
  iovec part{.iov_base = const_cast<std::uint8_t*>(message.data()), .iov_len = message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(int))> control{};
  if (passed >= 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &passed, sizeof passed);
  }
  if (::sendmsg(fd_.get(), &header, MSG_NOSIGNAL) < 0) return errno_error("cannot send a message");
  return {};
}

Result<> Channel::send_plain(Bytes message) {
  if (::send(fd_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) return errno_error("cannot send a message");
  return {};
}

Result<Channel::Received> Channel::receive(MutableBytes buffer) {
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(int))> control{};
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0) {
    if (errno == EAGAIN || errno == EINTR) return Received{};
    if (errno == ECONNRESET) return Received{.message = {}, .passed = {}, .state = Received::State::closed};
    return errno_error("cannot receive a message");
  }
  Received received;
  // Take over the descriptor before anything can fail, so that none leaks.
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    int passed = -1;
    std::memcpy(&passed, CMSG_DATA(item), sizeof passed);
    received.passed = OwnedFd(passed);
  }
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return fail("a message was longer than the protocol allows", EMSGSIZE);
  received.state = count == 0 ? Received::State::closed : Received::State::message;
  received.message = buffer.first(static_cast<std::size_t>(count));
  return received;
}

}  // namespace weir::sys
