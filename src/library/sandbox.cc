#include "weir/sandbox.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "library/collect.h"
#include "library/session_handle.h"
#include "library/words.h"
#include "session/client.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/memory_file.h"
#include "sys/pipe.h"

namespace weir {

namespace {

using wire::ErrorCode;

const std::string kNoId;
const std::vector<std::string> kNoPorts;

std::unexpected<Failure> stopped() {
  return library::failed(ErrorCode::gone, "the sandbox was stopped", "start another one");
}

// What a command reads: /dev/null, or a file that nobody can change.
Result<sys::OwnedFd> input_of(const std::string& text) {
  if (text.empty()) return sys::checked_fd(::open("/dev/null", O_RDONLY | O_CLOEXEC), "cannot open /dev/null");
  WEIR_TRY(const sys::OwnedFd memory, sys::make_memory_file("weir-input"));
  WEIR_CHECK_OK(sys::append(memory, as_bytes(text)));
  WEIR_CHECK_OK(sys::seal(memory));
  // Opened again: from its beginning, and for reading only.
  const std::string same = "/proc/self/fd/" + std::to_string(memory.get());
  return sys::checked_fd(::open(same.c_str(), O_RDONLY | O_CLOEXEC), "cannot open a memory file");
}

wire::RunProcess request_of(const std::vector<std::string>& argv, const RunOptions& options) {
  return {.argv = argv,
          .env = options.env,
          .cwd = options.cwd,
          .timeout_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(options.timeout.count(), 0)),
          .network_mode = options.network ? std::string(library::name_of(*options.network)) : std::string(),
          .network_allowlist = options.allow,
          .network_denylist = options.deny};
}

// A file request and its answer; the connection stays open for what follows.
struct Opened {
  session::Connection connection;
  session::Connection::Reply reply;
};
wire::Answer<Opened> open_file(const session::Registry& registry, const std::string& id, wire::FileRequest request) {
  WEIR_TRY(session::Connection connection, session::Connection::open(registry, id));
  WEIR_CHECK_OK(connection.send(std::move(request)));
  WEIR_TRY(session::Connection::Reply reply, connection.receive());
  if (reply.passed.size() != 1) return wire::refuse(ErrorCode::internal, "the session passed no file");
  return Opened{.connection = std::move(connection), .reply = std::move(reply)};
}

// Its files are swept by whoever comes to the snapshots next.
Expected<> remove_asleep(const session::Registry& registry, const std::string& id) {
  auto folder = registry.take_asleep(id);
  if (!folder) return library::failed(folder.error());
  folder->remove();
  return {};
}

}  // namespace

Sandbox::Sandbox(std::unique_ptr<Session> session) : session_(std::move(session)) {}
Sandbox::Sandbox(Sandbox&&) noexcept = default;
Sandbox& Sandbox::operator=(Sandbox&& other) noexcept {
  if (this != &other) {
    static_cast<void>(stop());
    session_ = std::move(other.session_);
  }
  return *this;
}
Sandbox::~Sandbox() {
  static_cast<void>(stop());
}

const std::string& Sandbox::id() const {
  return session_ ? session_->info.id : kNoId;
}
const std::vector<std::string>& Sandbox::ports() const {
  return session_ ? session_->info.ports : kNoPorts;
}

Expected<RunResult> Sandbox::run(const std::vector<std::string>& argv, const RunOptions& options) const {
  if (!session_) return stopped();
  if (argv.empty()) return library::failed(ErrorCode::bad_request, "there is no program to run");
  WEIR_LIBRARY_TRY(const sys::OwnedFd in, input_of(options.input));
  WEIR_LIBRARY_TRY(sys::Pipe out, sys::make_pipe());
  WEIR_LIBRARY_TRY(sys::Pipe err, sys::make_pipe());
  WEIR_LIBRARY_TRY(session::Connection connection, session::Connection::open(session_->registry, session_->info.id));
  const int passed[] = {in.get(), out.writing.get(), err.writing.get()};
  WEIR_LIBRARY_CHECK(connection.send(request_of(argv, options), passed));
  out.writing.reset();
  err.writing.reset();
  WEIR_LIBRARY_TRY(const session::Connection::Reply reply, connection.receive());
  if (reply.as<wire::StartedProcess>() == nullptr) {
    return library::failed(ErrorCode::internal, "the session says something else than that the command has started");
  }
  WEIR_LIBRARY_TRY(RunResult result,
                   library::collect(connection, std::move(out.reading), std::move(err.reading), options.max_output));
  return result;
}

Expected<RunResult> Sandbox::shell(std::string line, const RunOptions& options) const {
  return run({"/bin/sh", "-c", std::move(line)}, options);
}

Expected<> Sandbox::put(const std::string& path, std::string_view bytes, unsigned mode) const {
  if (!session_) return stopped();
  WEIR_LIBRARY_TRY(Opened file, open_file(session_->registry, session_->info.id,
                                          {.what = wire::FileRequest::Do::put, .path = path, .mode = mode}));
  WEIR_LIBRARY_CHECK(sys::write_whole(file.reply.passed.front(), path, as_bytes(bytes)));
  // What was written is in place only when it is closed here too.
  file.reply.passed.clear();
  WEIR_LIBRARY_CHECK(file.connection.send_line(wire::kCommitLine));
  WEIR_LIBRARY_CHECK(file.connection.receive());
  return {};
}

Expected<std::string> Sandbox::get(const std::string& path, std::size_t max_bytes) const {
  if (!session_) return stopped();
  WEIR_LIBRARY_TRY(const Opened file, open_file(session_->registry, session_->info.id,
                                                {.what = wire::FileRequest::Do::get, .path = path}));
  const auto* const about = file.reply.as<wire::FileInfo>();
  if (about != nullptr && about->bytes > max_bytes) {
    return library::failed(ErrorCode::too_large, path + " has " + std::to_string(about->bytes) + " bytes", "take more");
  }
  WEIR_LIBRARY_TRY(std::string content, sys::read_open_file(file.reply.passed.front(), path, max_bytes));
  return content;
}

Expected<> Sandbox::stop() {
  if (!session_) return {};
  const std::unique_ptr<Session> ending = std::move(session_);
  auto connection = session::Connection::open(ending->registry, ending->info.id, {.asleep = session::Asleep::leave});
  if (!connection) {
    const ErrorCode code = connection.error().code;
    if (code == ErrorCode::unavailable) return remove_asleep(ending->registry, ending->info.id);
    if (code == ErrorCode::gone || code == ErrorCode::not_found) return {};
    return library::failed(connection.error());
  }
  WEIR_LIBRARY_CHECK(connection->send(wire::StopSession{}));
  WEIR_LIBRARY_CHECK(connection->receive());
  // It closes the connection when everything inside is gone; what that is called does not matter.
  static_cast<void>(connection->receive());
  return {};
}

}  // namespace weir
