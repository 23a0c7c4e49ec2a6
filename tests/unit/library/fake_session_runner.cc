#include "fake_session_runner.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "session/client.h"
#include "wire/session_reply.h"

namespace weir {

namespace {

constexpr std::size_t kMaxLine = 1u << 20;

session::OwnFolder own_folder(const std::string& id) {
  auto registry = session::Registry::open();
  WEIR_ASSERT(registry);
  auto folder = registry->create(id, "");
  WEIR_ASSERT(folder);
  session::Stored stored;
  stored.info.id = id;
  stored.info.state = session::kRunning;
  stored.info.created = "2026-01-01T00:00:00Z";
  stored.info.network_mode = "none";
  WEIR_ASSERT(folder->write(stored));
  return std::move(*folder);
}

sys::UnixListener listener_in(const session::OwnFolder& folder) {
  auto listener = sys::UnixListener::create_in(sys::OwnedFd(::dup(folder.fd().get())), session::OwnFolder::kSocket);
  WEIR_ASSERT(listener);
  return std::move(*listener);
}

}  // namespace

OwnState::OwnState() {
  std::string path = std::filesystem::temp_directory_path() / "weir-library-XXXXXX";
  WEIR_ASSERT(::mkdtemp(path.data()) != nullptr);
  path_ = path;
  ::setenv("XDG_STATE_HOME", path_.c_str(), 1);
}

OwnState::~OwnState() {
  ::unsetenv("XDG_STATE_HOME");
  std::filesystem::remove_all(path_);
}

std::string OwnState::script(const std::string& name, const std::string& text) const {
  std::string path = path_ + "/" + name;
  std::ofstream(path) << "#!/bin/sh\n" << text;
  ::chmod(path.c_str(), 0755);
  return path;
}

FakeSession::FakeSession(const std::string& id, Answering answer)
    : folder_(own_folder(id)),
      listener_(listener_in(folder_)),
      answer_(std::move(answer)),
      end_(::eventfd(0, EFD_CLOEXEC)),
      thread_([this] { serve(); }) {}

FakeSession::~FakeSession() {
  const std::uint64_t one = 1;
  static_cast<void>(::write(end_.get(), &one, sizeof one));
  thread_.join();
}

void FakeSession::serve() {
  while (true) {
    std::array<pollfd, 2> waiting = {pollfd{.fd = end_.get(), .events = POLLIN, .revents = 0},
                                     pollfd{.fd = listener_.fd(), .events = POLLIN, .revents = 0}};
    ::poll(waiting.data(), waiting.size(), -1);
    if (waiting[0].revents != 0) return;
    auto accepted = listener_.accept();
    if (!accepted.socket.valid()) continue;
    auto stream = sys::LineStream::of(std::move(accepted.socket), kMaxLine);
    WEIR_ASSERT(stream);
    auto line = stream->receive(session::kNoDeadline);
    if (!line || !*line) continue;
    const auto request = wire::parse_session_request((*line)->text);
    WEIR_ASSERT(request);
    answer_(*stream, *request, std::move((*line)->passed));
  }
}

void say(sys::LineStream& to, const wire::SessionReply& reply, std::vector<int> passed) {
  WEIR_ASSERT(to.send(wire::session_reply_line(reply), passed, session::kNoDeadline));
}

}  // namespace weir
