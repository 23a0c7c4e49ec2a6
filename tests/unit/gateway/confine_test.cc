// Hostile code inside the gateway: what it tries after confine() must kill it, and the same call must work before.
#include "gateway/confine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "sys/owned_fd.h"
#include "sys/socket_address.h"

namespace weir::gateway {
namespace {

enum class Wall { confined, open };

// What the child had ready when the hostile code took over: connected UDP sockets and a TCP socket, as the supervisor
// passes them, and other addresses to escape to.
struct Loot {
  int udp = -1;
  int udp6 = -1;
  int tcp = -1;
  int file = -1;  // with something in it
  std::array<int, 2> pipe{-1, -1};
  std::array<int, 2> other_pipe{-1, -1};
  sockaddr_in elsewhere{};
  sockaddr_in6 elsewhere6{};
};

void prepare_ipv6(Loot& loot) {
  loot.elsewhere6.sin6_family = AF_INET6;
  loot.elsewhere6.sin6_addr = IN6ADDR_LOOPBACK_INIT;
  loot.elsewhere6.sin6_port = htons(10);
  sockaddr_in6 peer = loot.elsewhere6;
  peer.sin6_port = htons(9);
  loot.udp6 = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ::connect(loot.udp6, reinterpret_cast<sockaddr*>(&peer), sizeof peer);
}

Loot prepare() {
  Loot loot;
  prepare_ipv6(loot);
  loot.file = ::memfd_create("loot", 0);
  static_cast<void>(::pwrite(loot.file, "x", 1, 0));
  static_cast<void>(::pipe(loot.pipe.data()));
  static_cast<void>(::pipe(loot.other_pipe.data()));
  static_cast<void>(::write(loot.pipe[1], "x", 1));
  sys::OwnedFd receiver(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  loot.elsewhere.sin_family = AF_INET;
  loot.elsewhere.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof loot.elsewhere;
  ::bind(receiver.get(), reinterpret_cast<sockaddr*>(&loot.elsewhere), size);
  ::getsockname(receiver.release(), reinterpret_cast<sockaddr*>(&loot.elsewhere), &size);
  sockaddr_in peer = loot.elsewhere;
  peer.sin_port = htons(9);
  loot.udp = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ::connect(loot.udp, reinterpret_cast<sockaddr*>(&peer), sizeof peer);
  loot.tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return loot;
}

// True if the hostile call did its work.
using Attempt = bool (*)(const Loot&);

struct Hostile {
  const char* what;
  Attempt attempt;
};

int run(Attempt attempt, Wall wall) {
  const pid_t child = ::fork();
  if (child == 0) {
    const Loot loot = prepare();
    if (wall == Wall::confined && !confine()) ::_exit(99);
    ::_exit(attempt(loot) ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

const sockaddr* address(const Loot& loot) {
  return reinterpret_cast<const sockaddr*>(&loot.elsewhere);
}

bool send_message_elsewhere(const Loot& loot) {
  iovec part{.iov_base = const_cast<char*>("x"), .iov_len = 1};
  msghdr message{};
  message.msg_name = const_cast<sockaddr_in*>(&loot.elsewhere);
  message.msg_namelen = sizeof loot.elsewhere;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return ::sendmsg(loot.udp, &message, 0) == 1;
}

bool send_messages_elsewhere(const Loot& loot) {
  iovec part{.iov_base = const_cast<char*>("x"), .iov_len = 1};
  mmsghdr message{};
  message.msg_hdr.msg_name = const_cast<sockaddr_in*>(&loot.elsewhere);
  message.msg_hdr.msg_namelen = sizeof loot.elsewhere;
  message.msg_hdr.msg_iov = &part;
  message.msg_hdr.msg_iovlen = 1;
  return ::sendmmsg(loot.udp, &message, 1, 0) == 1;
}

bool send_to_ipv6_elsewhere(const Loot& loot) {
  return ::sendto(loot.udp6, "x", 1, 0, reinterpret_cast<const sockaddr*>(&loot.elsewhere6), sizeof loot.elsewhere6) ==
         1;
}

bool disconnect(const Loot& loot) {
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  return ::connect(loot.udp, &nobody, sizeof nobody) == 0;
}

bool write_vector(const Loot& loot) {
  const iovec part{.iov_base = const_cast<char*>("x"), .iov_len = 1};
  return ::writev(loot.pipe[1], &part, 1) == 1;
}

bool splice_memory(const Loot& loot) {
  const iovec part{.iov_base = const_cast<char*>("x"), .iov_len = 1};
  return ::vmsplice(loot.pipe[1], &part, 1, 0) == 1;
}

bool set_up_a_ring(const Loot&) {
  std::array<std::uint8_t, 256> parameters{};  // struct io_uring_params is 120 bytes
  return ::syscall(SYS_io_uring_setup, 1, parameters.data()) >= 0;
}

const std::array kHostile = {
    Hostile{"open a file", [](const Loot&) { return ::open("/etc/passwd", O_RDONLY) >= 0; }},
    Hostile{"open with openat2",
            [](const Loot&) {
              std::array<std::uint64_t, 3> how{};
              return ::syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", how.data(), sizeof how) >= 0;
            }},
    Hostile{"make a socket", [](const Loot&) { return ::socket(AF_INET, SOCK_STREAM, 0) >= 0; }},
    Hostile{"make a unix socket", [](const Loot&) { return ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }},
    Hostile{"make a socket pair",
            [](const Loot&) {
              std::array<int, 2> ends{};
              return ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0;
            }},
    Hostile{"connect a socket it was given",
            [](const Loot& loot) { return ::connect(loot.udp, address(loot), sizeof loot.elsewhere) == 0; }},
    Hostile{"bind",
            [](const Loot& loot) {
              sockaddr_in any{};
              any.sin_family = AF_INET;
              return ::bind(loot.tcp, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0;
            }},
    Hostile{"listen", [](const Loot& loot) { return ::listen(loot.tcp, 1) == 0; }},
    Hostile{"send elsewhere with sendto",
            [](const Loot& loot) { return ::sendto(loot.udp, "x", 1, 0, address(loot), sizeof loot.elsewhere) == 1; }},
    Hostile{"send elsewhere with sendmsg", send_message_elsewhere},
    Hostile{"send elsewhere with sendmmsg", send_messages_elsewhere},
    Hostile{"send elsewhere over IPv6", send_to_ipv6_elsewhere},
    Hostile{"disconnect a socket it was given", disconnect},
    Hostile{"write with writev", write_vector},
    Hostile{"send a file", [](const Loot& loot) { return ::sendfile(loot.udp, loot.file, nullptr, 1) == 1; }},
    Hostile{"splice memory", splice_memory},
    Hostile{"duplicate what a pipe holds",
            [](const Loot& loot) { return ::tee(loot.pipe[0], loot.other_pipe[1], 1, 0) == 1; }},
    Hostile{"set up an io_uring", set_up_a_ring},
    Hostile{"execute a program",
            [](const Loot&) {
              const std::array<const char*, 2> arguments = {"true", nullptr};
              ::execve("/bin/true", const_cast<char* const*>(arguments.data()), nullptr);
              return false;
            }},
    Hostile{"start a process",
            [](const Loot&) {
              const pid_t child = ::fork();
              if (child == 0) ::_exit(0);
              return child > 0;
            }},
    Hostile{"signal another process", [](const Loot&) { return ::kill(::getppid(), 0) == 0; }},
    Hostile{"map executable memory",
            [](const Loot&) {
              return ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
            }},
    Hostile{"control a device",
            [](const Loot& loot) {
              int bytes = 0;
              return ::ioctl(loot.udp, FIONREAD, &bytes) == 0;
            }},
    Hostile{"set any socket option",
            [](const Loot& loot) {
              const int on = 1;
              return ::setsockopt(loot.tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
            }},
    Hostile{"be traced", [](const Loot&) { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0; }},
    Hostile{"make a memory file", [](const Loot&) { return ::memfd_create("x", 0) >= 0; }},
    Hostile{"duplicate a descriptor", [](const Loot& loot) { return ::dup(loot.udp) >= 0; }},
};

class HostileGateway : public testing::TestWithParam<Hostile> {};

TEST_P(HostileGateway, DiesWhenConfined) {
  EXPECT_EQ(run(GetParam().attempt, Wall::confined), 128 + SIGSYS) << GetParam().what;
}

// The barrier and not luck: without it the same code succeeds. A call that ends the process successfully counts.
TEST_P(HostileGateway, SucceedsWithoutTheWall) {
  EXPECT_EQ(run(GetParam().attempt, Wall::open), 0) << GetParam().what;
}

INSTANTIATE_TEST_SUITE_P(All, HostileGateway, testing::ValuesIn(kHostile), [](const auto& info) {
  std::string name = info.param.what;
  for (char& c : name) {
    if (c == ' ') c = '_';
  }
  return name;
});

struct Receiver {
  sys::OwnedFd fd;
  sys::SocketAddress address;

  explicit Receiver(const char* host) : address(sys::SocketAddress::of({*net::IpAddress::parse(host), 0})) {
    fd = sys::OwnedFd(::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    EXPECT_EQ(::bind(fd.get(), address.get(), address.size), 0);
    EXPECT_EQ(::getsockname(fd.get(), address.get(), &address.size), 0);
  }
  std::string take() const {
    std::array<char, 16> buffer{};
    const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    return size < 0 ? "nothing" : std::string(buffer.data(), static_cast<std::size_t>(size));
  }
};

// Everything that the wall lets pass and that can send, done with a connected UDP socket.
bool send_in_every_way(int udp) {
  std::array<int, 2> pipe{};
  bool done = ::write(udp, "write", 5) == 5;
  done = ::sendto(udp, "sendto", 6, 0, nullptr, 0) == 6 && done;
  // The length of an address that is not there.
  done = ::sendto(udp, "length", 6, 0, nullptr, sizeof(sockaddr_in)) == 6 && done;
  done = ::pipe2(pipe.data(), O_CLOEXEC) == 0 && ::write(pipe[1], "splice", 6) == 6 && done;
  return ::splice(pipe[0], nullptr, udp, nullptr, 6, 0) == 6 && done;
}

class WhatMaySend : public testing::TestWithParam<const char*> {};

TEST_P(WhatMaySend, ReachesTheConnectedPeerOnly) {
  const Receiver peer(GetParam());
  const Receiver elsewhere(GetParam());
  const pid_t child = ::fork();
  if (child == 0) {
    const int udp = ::socket(peer.address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool ready = ::connect(udp, peer.address.get(), peer.address.size) == 0 && confine().has_value();
    ::_exit(ready && send_in_every_way(udp) ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  for (const char* sent : {"write", "sendto", "length", "splice"}) EXPECT_EQ(peer.take(), sent);
  EXPECT_EQ(peer.take(), "nothing");
  EXPECT_EQ(elsewhere.take(), "nothing");
}

INSTANTIATE_TEST_SUITE_P(Families, WhatMaySend, testing::Values("127.0.0.1", "::1"),
                         [](const auto& info) { return info.index == 0 ? "IPv4" : "IPv6"; });

TEST(ConfinedGateway, StillMovesBytes) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    const bool moved = confine().has_value() && ::recv(ends[1], &byte, 1, 0) == 1 && ::send(ends[1], &byte, 1, 0) == 1;
    ::_exit(moved ? 0 : 1);
  }
  ASSERT_EQ(::send(ends[0], "z", 1, 0), 1);
  char back = 0;
  EXPECT_EQ(::recv(ends[0], &back, 1, 0), 1);
  EXPECT_EQ(back, 'z');
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace weir::gateway
