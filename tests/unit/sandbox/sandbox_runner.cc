#include "sandbox_runner.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace weir::sandbox::testing {
namespace {

void become(As as) {
  if (as == As::root || ::getuid() != 0) return;
  if (::setgroups(0, nullptr) != 0 || ::setresgid(kOrdinaryUid, kOrdinaryUid, kOrdinaryUid) != 0 ||
      ::setresuid(kOrdinaryUid, kOrdinaryUid, kOrdinaryUid) != 0) {
    ::_exit(99);
  }
  // Changing ids made the process undumpable, and with it its /proc entries root's; a login shell's child is not.
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    reader = sys::OwnedFd(ends[0]);
    writer = sys::OwnedFd(ends[1]);
  }
  sys::OwnedFd reader;
  sys::OwnedFd writer;
};

int say(int fd, const Error& error, int code) {
  const std::string line = error.what() + (error.remedy().empty() ? "" : "; " + error.remedy());
  if (::write(fd, line.data(), line.size()) < 0) return 98;
  return code;
}

int supervise(const Spec& spec, int failure) {
  auto sandbox = Sandbox::start(spec);
  if (!sandbox) return say(failure, sandbox.error(), 125);
  while (true) {
    pollfd waiting{.fd = sandbox->control_fd(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, -1) < 0) continue;
    const auto event = sandbox->on_control_readable();
    if (!event) return say(failure, event.error(), 125);
    if (!event->has_value()) continue;
    const int status = (*event)->status;
    if (const auto& refused = (*event)->not_executed) return say(failure, *refused, WEXITSTATUS(status));
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

void collect(std::array<Pipe, 3>& pipes, std::array<std::string*, 3> into) {
  std::array<pollfd, 3> waiting{};
  for (std::size_t i = 0; i < 3; ++i) waiting[i] = {.fd = pipes[i].reader.get(), .events = POLLIN, .revents = 0};
  while (waiting[0].fd >= 0 || waiting[1].fd >= 0 || waiting[2].fd >= 0) {
    if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;
    for (std::size_t i = 0; i < 3; ++i) {
      if (waiting[i].revents == 0) continue;
      std::array<char, 4096> buffer;
      const ssize_t got = ::read(waiting[i].fd, buffer.data(), buffer.size());
      if (got > 0) into[i]->append(buffer.data(), static_cast<std::size_t>(got));
      if (got <= 0) waiting[i].fd = -1;
    }
  }
}

Spec base_spec() {
  Spec spec;
  spec.id = "w-test";
  spec.addresses = CaptureAddresses::defaults();
  spec.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"HOME", "/home/sandbox"}};
  return spec;
}

}  // namespace

Spec shell(const std::string& script) {
  Spec spec = base_spec();
  spec.argv = {"sh", "-c", script};
  return spec;
}

Spec python(const std::string& program) {
  Spec spec = base_spec();
  spec.argv = {"python3", "-c", program};
  return spec;
}

pid_t fork_as(As as, const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  become(as);
  ::_exit(work());
}

Outcome run(const Spec& spec, As as, const std::string& input) {
  Pipe in;
  std::array<Pipe, 3> pipes;
  const pid_t child = fork_as(as, [&] {
    ::dup2(in.reader.get(), STDIN_FILENO);
    ::dup2(pipes[0].writer.get(), STDOUT_FILENO);
    ::dup2(pipes[1].writer.get(), STDERR_FILENO);
    in.writer.reset();
    return supervise(spec, pipes[2].writer.get());
  });
  in.reader.reset();
  for (Pipe& pipe : pipes) pipe.writer.reset();
  // Small enough for the pipe.
  if (::write(in.writer.get(), input.data(), input.size()) < 0) std::abort();
  in.writer.reset();
  Outcome outcome;
  collect(pipes, {&outcome.out, &outcome.err, &outcome.failure});
  int status = 0;
  ::waitpid(child, &status, 0);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  return outcome;
}

bool can_be(As as) {
  return as == As::ordinary || ::getuid() == 0;
}

TestFolder::TestFolder(As owner) : owner_(owner == As::ordinary && ::getuid() == 0 ? kOrdinaryUid : ::getuid()) {
  std::string name = "/var/tmp/weir-test-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  path_ = name;
  if (::chown(path_.c_str(), owner_, owner_) != 0 && ::getuid() == 0) std::abort();
}

TestFolder::~TestFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TestFolder::make(const std::string& name) const {
  std::string path = path_;
  std::istringstream parts(name);
  for (std::string part; std::getline(parts, part, '/');) {
    path += "/" + part;
    if (::mkdir(path.c_str(), 0755) == 0 && ::getuid() == 0 && ::chown(path.c_str(), owner_, owner_) != 0) std::abort();
  }
  return path;
}

std::string TestFolder::write(const std::string& name, const std::string& content) const {
  const std::size_t slash = name.rfind('/');
  if (slash != std::string::npos) make(name.substr(0, slash));
  const std::string path = path_ + "/" + name;
  std::ofstream(path) << content;
  if (::getuid() == 0 && ::chown(path.c_str(), owner_, owner_) != 0) std::abort();
  return path;
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace weir::sandbox::testing
