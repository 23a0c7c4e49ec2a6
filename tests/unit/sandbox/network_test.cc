// The network that a sandbox starts with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "sandbox_runner.h"

namespace weir::sandbox::testing {
namespace {

using ::testing::HasSubstr;

class NetworkTest : public ::testing::TestWithParam<As> {
 protected:
  void SetUp() override {
    if (!can_be(GetParam())) GTEST_SKIP() << "needs root";
  }
  Outcome with(Network network, const std::string& script) {
    Spec spec = shell(script);
    spec.network = network;
    return run(spec, GetParam());
  }
  bool may_capture() const { return GetParam() == As::root || ::access("/dev/net/tun", R_OK | W_OK) == 0; }
};

INSTANTIATE_TEST_SUITE_P(Users, NetworkTest, ::testing::Values(As::root, As::ordinary),
                         [](const auto& info) { return info.param == As::root ? "Root" : "Ordinary"; });

constexpr const char* kConnect =
    "python3 -c 'import socket, errno\ns = socket.socket(); s.settimeout(3)\n"
    "try: s.connect((\"192.0.2.1\", 80)); print(\"connected\")\n"
    "except OSError as e: print(errno.errorcode.get(e.errno, e))'";

TEST_P(NetworkTest, LoopbackOnlyReachesItself) {
  const Outcome outcome =
      with(Network::loopback, std::string("cut -d: -f1 -s /proc/net/dev; ") + kConnect +
                                  "; python3 -c 'import socket; l = socket.create_server((\"127.0.0.1\", "
                                  "80)); socket.create_connection((\"127.0.0.1\", 80)); print(1)'");
  EXPECT_EQ(outcome.out, "    lo\nENETUNREACH\n1\n") << outcome.failure << outcome.err;
}

TEST_P(NetworkTest, CapturedHasOneDeviceAndItsResolver) {
  if (!may_capture()) GTEST_SKIP() << "/dev/net/tun is for root only on this machine";
  const Outcome outcome = with(Network::captured, "cut -d: -f1 -s /proc/net/dev | sort | xargs; cat /etc/resolv.conf");
  EXPECT_EQ(outcome.out, "lo weir0\nnameserver 10.254.0.1\n") << outcome.failure << outcome.err;
}

TEST_P(NetworkTest, CaptureIsHandedOverBeforeTheCommandRuns) {
  if (!may_capture()) GTEST_SKIP() << "/dev/net/tun is for root only on this machine";
  const pid_t supervisor = fork_as(GetParam(), [] {
    Spec spec = shell("sleep 600");
    spec.network = Network::captured;
    auto sandbox = Sandbox::start(spec);
    if (!sandbox) return 1;
    const Capture capture = sandbox->take_capture();
    int listening = 0;
    socklen_t size = sizeof listening;
    if (::getsockopt(capture.listener.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening != 1)
      return 2;
    return capture.tun.valid() ? 0 : 3;
  });
  int status = 0;
  ::waitpid(supervisor, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// A machine without the device, and one that keeps it for root.
class TunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!can_be(As::root)) GTEST_SKIP() << "needs root to hide /dev/net/tun";
  }
  // What start() says to an ordinary user when /dev/net holds what `arrange` puts there.
  std::string failure_with(const std::function<void()>& arrange) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    const sys::OwnedFd reader(ends[0]);
    sys::OwnedFd writer(ends[1]);
    const pid_t child = fork_as(As::root, [&] {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount("none", "/dev/net", "tmpfs", 0, nullptr) != 0)
        return 1;
      arrange();
      Spec spec = shell("true");
      spec.network = Network::captured;
      const Outcome outcome = run(spec, As::ordinary);
      return ::write(writer.get(), outcome.failure.data(), outcome.failure.size()) < 0 ? 1 : 0;
    });
    writer.reset();
    std::array<char, 4096> text{};
    const ssize_t got = ::read(reader.get(), text.data(), text.size());
    ::waitpid(child, nullptr, 0);
    return std::string(text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  }
};

TEST_F(TunTest, MissingDeviceNamesTheModule) {
  EXPECT_THAT(failure_with([] {}), ::testing::AllOf(HasSubstr("/dev/net/tun"), HasSubstr("modprobe tun")));
}

TEST_F(TunTest, DeviceForRootOnlyNamesTheMode) {
  const std::string failure = failure_with([] { ::mknod("/dev/net/tun", S_IFCHR | 0600, makedev(10, 200)); });
  EXPECT_THAT(failure, ::testing::AllOf(HasSubstr("/dev/net/tun"), HasSubstr("chmod 0666 /dev/net/tun")));
  // The twin: with the mode that distributions give it, nothing is said.
  EXPECT_EQ(failure_with([] {
              ::mknod("/dev/net/tun", S_IFCHR | 0600, makedev(10, 200));
              ::chmod("/dev/net/tun", 0666);
            }),
            "");
}

TEST_P(NetworkTest, HostKeepsTheHosts) {
  const std::string host = read_file("/proc/net/dev");
  const Outcome outcome = with(Network::host, "cut -d: -f1 -s /proc/net/dev | xargs");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.failure;
  for (std::size_t colon = host.find(':'); colon != std::string::npos; colon = host.find(':', colon + 1)) {
    const std::size_t begin = host.find_last_of(" \n", colon) + 1;
    EXPECT_THAT(outcome.out, HasSubstr(host.substr(begin, colon - begin)));
  }
}

}  // namespace
}  // namespace weir::sandbox::testing
