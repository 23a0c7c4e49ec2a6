#include "supervisor/session/line_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <thread>

namespace weir::supervisor {
namespace {

// Answers each first line with a long last one, and stops when nobody is there any more.
struct LongAnswer : LineServer::Owner {
  explicit LongAnswer(sys::Reactor& loop) : reactor(loop) {}
  void on_line(LineServer::ClientId client, std::uint64_t, sys::LineStream::Line) override {
    server->finish(client, std::string(kLength, 'x') + "\n");
    server->finish(client, "never\n");
    server->send(client, "never\n");
  }
  void on_end(LineServer::ClientId) override { ++ends; }
  std::string line_of(LineServer::Trouble) override { return "trouble\n"; }
  void on_clients_changed() override {
    if (server->clients() == 0) reactor.stop();
  }

  static constexpr std::size_t kLength = 2u << 20;  // longer than any socket's buffer
  sys::Reactor& reactor;
  LineServer* server = nullptr;
  int ends = 0;
};

TEST(LineServerTest, ALongLastLineIsTakenToItsEnd) {
  auto reactor = sys::Reactor::create();
  std::string path = std::string(std::filesystem::temp_directory_path()) + "/weir-lines-XXXXXX";
  ASSERT_NE(::mkdtemp(path.data()), nullptr);
  const auto folder = [&] { return sys::OwnedFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); };
  auto listener = sys::UnixListener::create_in(folder(), "socket");
  ASSERT_TRUE(listener) << listener.error().what();
  LongAnswer owner(*reactor);
  auto server = LineServer::serve(*reactor, std::move(*listener), {.max_clients = 2, .max_line = 100}, owner);
  ASSERT_TRUE(server) << server.error().what();
  owner.server = server->get();
  std::size_t length = 0;
  bool closed = false;
  std::thread client([&] {
    auto socket = sys::connect_unix_in(folder(), "socket");
    auto stream = sys::LineStream::of(std::move(*socket), 4u << 20);
    const std::uint64_t soon = sys::monotonic_ms() + 20'000;
    if (!stream->send("line\n", {}, soon)) return;
    if (const auto answer = stream->receive(soon); answer && *answer) length = (*answer)->text.size();
    const auto more = stream->receive(soon);
    closed = more && !*more;
  });
  EXPECT_TRUE(reactor->run());
  client.join();
  EXPECT_EQ(length, LongAnswer::kLength);
  EXPECT_TRUE(closed);
  EXPECT_EQ(owner.ends, 0);
  server->reset();
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace weir::supervisor
