#include "netlink/socket.h"

#include <sys/socket.h>

#include <vector>

#include "sys/errno.h"

namespace weir::netlink {

namespace {

// Answers to dumps come in packets of at most 32 KiB (NLMSG_GOODSIZE grows to that for large readers).
constexpr std::size_t kReceiveBuffer = 32768;

// Calls `visit` with each message of a packet until it returns false.
template <class Visit>
void for_each_message(Bytes packet, Visit&& visit) {
  while (packet.size() >= sizeof(nlmsghdr)) {
    const auto* message = reinterpret_cast<const nlmsghdr*>(packet.data());
    if (message->nlmsg_len < sizeof(nlmsghdr) || message->nlmsg_len > packet.size()) return;
    if (!visit(*message)) return;
    packet = packet.subspan(std::min<std::size_t>(NLMSG_ALIGN(message->nlmsg_len), packet.size()));
  }
}

int error_code(const nlmsghdr& message) {
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return EPROTO;
  return -reinterpret_cast<const nlmsgerr*>(NLMSG_DATA(&message))->error;
}

}  // namespace

Result<Socket> Socket::open(int protocol, std::uint32_t groups) {
  WEIR_TRY(sys::OwnedFd fd,
           sys::checked_fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), "cannot open a netlink socket"));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return sys::errno_error("cannot bind a netlink socket");
  }
  return Socket(std::move(fd));
}

Result<> Socket::send(Bytes bytes) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent =
      ::sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  if (sent < 0) return sys::errno_error("cannot send to netlink");
  return {};
}

Result<> Socket::transact(Batch& batch) {
  WEIR_CHECK_OK(send(batch.finish()));
  alignas(nlmsghdr) std::array<std::uint8_t, kReceiveBuffer> buffer;
  std::uint32_t missing = batch.acks_expected();
  while (missing > 0) {
    const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return sys::errno_error("cannot read netlink's answer");
    int refused = 0;
    std::uint32_t position = 0;
    for_each_message(Bytes(buffer).first(static_cast<std::size_t>(count)), [&](const nlmsghdr& message) {
      if (message.nlmsg_type != NLMSG_ERROR) return true;
      refused = error_code(message);
      position = message.nlmsg_seq;
      --missing;
      return refused == 0 && missing > 0;
    });
    if (refused != 0) return sys::errno_error("netlink refused message " + std::to_string(position), refused);
  }
  return {};
}

Result<> Socket::dump(Batch& request, const std::function<void(const nlmsghdr&)>& visit) {
  WEIR_CHECK_OK(send(request.finish()));
  alignas(nlmsghdr) std::array<std::uint8_t, kReceiveBuffer> buffer;
  bool done = false;
  int failed = 0;
  while (!done) {
    const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return sys::errno_error("cannot read a netlink dump");
    for_each_message(Bytes(buffer).first(static_cast<std::size_t>(count)), [&](const nlmsghdr& message) {
      done = message.nlmsg_type == NLMSG_DONE || message.nlmsg_type == NLMSG_ERROR;
      if (message.nlmsg_type == NLMSG_ERROR) failed = error_code(message);
      if (!done) visit(message);
      return !done;
    });
  }
  if (failed != 0) return sys::errno_error("netlink refused a dump", failed);
  return {};
}

bool Socket::drain() {
  std::array<std::uint8_t, kReceiveBuffer> buffer;
  bool changed = false;
  while (true) {
    const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return changed;
    // An overflow (ENOBUFS) means changes that were lost; any other error is one more reason to look again.
    changed = true;
    if (count < 0 && errno != ENOBUFS && errno != EINTR) return changed;
  }
}

}  // namespace weir::netlink
