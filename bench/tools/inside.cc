#include "inside.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "sys/channel.h"

namespace weir::bench {
namespace {

// In the child: set up, hand the descriptor up, become the command.
[[noreturn]] void become_the_command(sys::Channel channel, const Arguments& arguments,
                                     Result<sys::OwnedFd> (*set_up)()) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  char go = 0;
  while (::recv(channel.fd(), &go, 1, 0) < 0 && (errno == EAGAIN || errno == EINTR)) ::sched_yield();
  const sys::OwnedFd made = or_die(set_up());
  or_die(channel.send(Bytes(reinterpret_cast<const std::uint8_t*>("l"), 1), made.get()));
  ::execvp(arguments.command[0], arguments.command.data());
  die_errno(std::string("cannot execute ") + arguments.command[0]);
}

// The caller is root inside, so that what runs there may make files and sockets as outside.
void write_id_maps(pid_t pid) {
  const auto put = [pid](const char* name, const std::string& text) {
    std::ofstream file("/proc/" + std::to_string(pid) + "/" + name);
    if (!(file << text << std::flush)) die(std::string("cannot write ") + name);
  };
  put("setgroups", "deny");
  put("uid_map", "0 " + std::to_string(::geteuid()) + " 1\n");
  put("gid_map", "0 " + std::to_string(::getegid()) + " 1\n");
}

sys::OwnedFd take_descriptor(sys::Channel& channel) {
  std::array<std::uint8_t, 8> buffer{};
  for (;;) {
    auto received = or_die(channel.receive(buffer));
    if (received.state == sys::Channel::Received::State::closed) die("the namespace could not be set up");
    if (!received.passed.empty()) return received.take_passed();
    ::sched_yield();
  }
}

}  // namespace

Inside start_inside(const Arguments& arguments, Result<sys::OwnedFd> (*set_up)()) {
  auto [ours, theirs] = or_die(sys::Channel::pair());
  sys::ChildProcess child = or_die(sys::ChildProcess::clone(CLONE_NEWUSER | CLONE_NEWNET));
  if (child.in_child()) {
    ours = sys::Channel();
    become_the_command(std::move(theirs), arguments, set_up);
  }
  theirs = sys::Channel();
  write_id_maps(child.pid());
  or_die(ours.send(Bytes(reinterpret_cast<const std::uint8_t*>("g"), 1)));
  sys::OwnedFd fd = take_descriptor(ours);
  return {.child = std::move(child), .fd = std::move(fd)};
}

int exit_code(sys::ChildProcess& child) {
  const int status = child.wait().value_or(1);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace weir::bench
