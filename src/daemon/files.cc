// The files of a session: opened inside, moved here, by descriptors that were passed out.
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <vector>

#include "daemon/handlers.h"
#include "daemon/pipes.h"
#include "daemon/session_call.h"
#include "sys/errno.h"
#include "sys/files.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::FileRequest;
using wire::refuse;
using Do = FileRequest::Do;

constexpr std::size_t kPiece = 256u << 10;
constexpr std::size_t kMaxList = 8u << 20;
constexpr std::size_t kMaxPath = 4095;
constexpr unsigned kUnpackSeconds = 600;

std::unexpected<wire::Refusal> nonsense() {
  return refuse(ErrorCode::internal, "the session says something else than what was asked");
}

wire::Answer<std::string> absolute(std::string path) {
  if (!path.starts_with('/')) path.insert(0, "/");
  if (path.size() <= kMaxPath) return path;
  return refuse(ErrorCode::too_large, "a path can have 4095 bytes");
}

std::string octal(std::uint32_t mode) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "%04o", mode & 07777);
  return text.data();
}

// RFC 9110 5.6.7.
std::string http_date(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 40> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text.data(), length};
}

// A request with one descriptor in its answer; the call goes on.
struct Opened {
  SessionCall session;
  SessionReply reply;
  sys::OwnedFd fd;
};
Task<wire::Answer<Opened>> open_inside(Call& call, FileRequest request) {
  auto session = co_await SessionCall::open(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(session);
  WEIR_CO_CHECK(session->send(request));
  auto reply = co_await session->receive(in_seconds(SessionCall::kPatience));
  WEIR_CO_CHECK(reply);
  if (reply->passed.size() != 1) co_return nonsense();
  sys::OwnedFd fd = std::move(reply->passed[0]);
  co_return Opened{.session = std::move(*session), .reply = std::move(*reply), .fd = std::move(fd)};
}

Task<Outcome> ask_done(Call& call, FileRequest request) {
  auto reply = co_await ask_session(call.daemon, call.parameter(0), call.who, std::move(request));
  WEIR_CO_CHECK(reply);
  if (reply->as<wire::Done>() == nullptr) co_return nonsense();
  co_return no_content();
}

// What a full disk, or a limit, says to who writes.
std::unexpected<wire::Refusal> cannot_write(int code) {
  if (code == ENOSPC || code == EDQUOT || code == EFBIG) {
    return refuse(ErrorCode::limit, "the disk of the session is full", "remove files, or make it with a larger disk");
  }
  return refuse(ErrorCode::internal, "cannot write the file: " + sys::errno_text(code));
}

wire::Answer<> write_file(int file, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return cannot_write(errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Task<Outcome> put_bytes(Call& call, FileRequest request) {
  if (call.exchange.head().content_length.value_or(0) > call.daemon.limits.put_bytes) {
    co_return refuse(ErrorCode::too_large, "the file is longer than weir serve takes");
  }
  auto opened = co_await open_inside(call, std::move(request));
  WEIR_CO_CHECK(opened);
  if (!is_regular_file(opened->fd.get())) co_return nonsense();
  std::vector<std::uint8_t> buffer(kPiece);
  std::uint64_t total = 0;
  while (true) {
    const auto count = co_await call.exchange.read_body(buffer);
    WEIR_CO_CHECK(count);
    if (*count == 0) break;
    total += *count;
    if (total > call.daemon.limits.put_bytes) {
      co_return refuse(ErrorCode::too_large, "the file is longer than weir serve takes");
    }
    WEIR_CO_CHECK(write_file(opened->fd.get(), Bytes(buffer).first(*count)));
  }
  opened->fd.reset();
  WEIR_CO_CHECK(opened->session.send_line(wire::kCommitLine));
  const auto done = co_await opened->session.receive(in_seconds(SessionCall::kPatience));
  WEIR_CO_CHECK(done);
  co_return no_content();
}

// The body of the request into a pipe. What the reader of the pipe has to say against it is said by the session.
Task<wire::Answer<>> feed_pipe(Call& call, ForeignPipe& pipe) {
  std::vector<std::uint8_t> buffer(kPiece);
  std::uint64_t total = 0;
  while (true) {
    const auto count = co_await call.exchange.read_body(buffer);
    WEIR_CO_CHECK(count);
    if (*count == 0) co_return wire::Answer<>();
    total += *count;
    if (total > call.daemon.limits.put_bytes) {
      co_return refuse(ErrorCode::too_large, "the archive is longer than weir serve takes");
    }
    const auto written = co_await write_all(call.daemon.executor, pipe, as_text(Bytes(buffer).first(*count)));
    if (!written && written.error().code == ErrorCode::gone) co_return wire::Answer<>();
    WEIR_CO_CHECK(written);
  }
}

Task<Outcome> unpack(Call& call, FileRequest request) {
  auto opened = co_await open_inside(call, std::move(request));
  WEIR_CO_CHECK(opened);
  auto pipe = ForeignPipe::take(std::move(opened->fd));
  if (!pipe) co_return nonsense();
  const auto fed = co_await feed_pipe(call, *pipe);
  WEIR_CO_CHECK(fed);
  pipe->close();
  const auto done = co_await opened->session.receive(in_seconds(kUnpackSeconds));
  WEIR_CO_CHECK(done);
  co_return no_content();
}

Task<Outcome> send_archive(Call& call, FileRequest request) {
  auto opened = co_await open_inside(call, std::move(request));
  WEIR_CO_CHECK(opened);
  auto pipe = ForeignPipe::take(std::move(opened->fd));
  auto watch = Watch::create(call.daemon.executor);
  if (!pipe || !watch || !watch->add(pipe->fd(), EPOLLIN, 0) || !watch->add(call.exchange.fd(), EPOLLRDHUP, 1)) {
    co_return nonsense();
  }
  bool taken = co_await call.exchange.begin_stream(200, "application/x-tar");
  std::vector<std::uint8_t> buffer(kPiece);
  while (taken) {
    const Watch::Ready ready = co_await watch->wait(kNever);
    if (ready.late || ready.has(1)) co_return nobody_there();
    const Moved moved = pipe->read_some(buffer);
    if (moved.state == Moved::State::ended) break;
    taken = co_await call.exchange.write(as_text(Bytes(buffer).first(moved.bytes)));
  }
  if (!taken) co_return nobody_there();
  // Only now it is known whether that was all of it.
  const auto done = co_await opened->session.receive(in_seconds(SessionCall::kPatience));
  WEIR_CO_CHECK(done);
  const bool ended = co_await call.exchange.end_stream();
  if (!ended) co_return nobody_there();
  co_return streamed(200);
}

bool wants_archive(const Call& call) {
  return is_on(call.target, "tar") || call.exchange.head().accept.contains("application/x-tar");
}

// "0644", "644".
wire::Answer<std::uint32_t> mode_of(std::string_view text) {
  if (text.empty()) return 0644u;
  std::uint32_t mode = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  const bool three = text.size() == 3 || (text.size() == 4 && text.front() == '0');
  if (failed == std::errc() && end == text.data() + text.size() && three) return mode;
  return refuse(ErrorCode::bad_request, "'mode' is no rights of a file", "write them in octal, such as 0644");
}

// Lines {"name": ...} become the items of a list; what is more than fits is left out.
class Listing {
 public:
  void take(std::string_view bytes) {
    half_ += bytes;
    std::size_t end = 0;
    while ((end = half_.find('\n')) != std::string::npos) {
      add(std::string_view(half_).substr(0, end));
      half_.erase(0, end + 1);
    }
    if (half_.size() > kMaxList) truncated_ = true;
    if (half_.size() > kMaxList) half_.clear();
  }
  std::string json() const {
    return "{\"entries\":[" + items_ + "],\"truncated\":" + (truncated_ ? "true" : "false") + "}";
  }

 private:
  void add(std::string_view line) {
    if (line.empty()) return;
    if (items_.size() + line.size() > kMaxList) truncated_ = true;
    if (truncated_) return;
    items_ += (items_.empty() ? "" : ",") + std::string(line);
  }
  std::string half_;
  std::string items_;
  bool truncated_ = false;
};

}  // namespace

Task<Outcome> list_files(Call& call, std::string) {
  const std::string_view folder = parameter(call.target, "list");
  if (folder.empty() || folder.front() != '/') {
    co_return refuse(ErrorCode::bad_request, "no 'list', or one that is no absolute path", "write ?list=/the/folder");
  }
  WEIR_CO_TRY(std::string path, absolute(std::string(folder)));
  auto opened = co_await open_inside(
      call, {.what = Do::list, .path = std::move(path), .recursive = is_on(call.target, "recursive")});
  WEIR_CO_CHECK(opened);
  auto pipe = ForeignPipe::take(std::move(opened->fd));
  if (!pipe) co_return nonsense();
  Waiter waiter(call.daemon.executor, pipe->fd());
  Listing listing;
  std::vector<std::uint8_t> buffer(kPiece);
  while (true) {
    const Waited waited = co_await waiter.readable(in_seconds(SessionCall::kPatience));
    if (waited != Waited::ready) co_return refuse(ErrorCode::unavailable, "the list does not come to its end");
    const Moved moved = pipe->read_some(buffer);
    if (moved.state == Moved::State::ended) break;
    listing.take(as_text(Bytes(buffer).first(moved.bytes)));
  }
  co_return json_reply(200, listing.json());
}

Task<Outcome> get_file(Call& call, std::string) {
  WEIR_CO_TRY(std::string path, absolute(call.parameter(1)));
  if (wants_archive(call)) {
    auto archive = co_await send_archive(call, {.what = Do::tar, .path = std::move(path)});
    co_return archive;
  }
  auto opened = co_await open_inside(call, {.what = Do::get, .path = std::move(path)});
  WEIR_CO_CHECK(opened);
  const auto* const info = opened->reply.as<wire::FileInfo>();
  if (info == nullptr) co_return nonsense();
  if (!is_regular_file(opened->fd.get())) {
    co_return refuse(ErrorCode::bad_request, "it is no file", "get a folder with ?tar=1, or list it with ?list=");
  }
  Headers headers = {{"Weir-File-Mode", octal(info->mode)}, {"Last-Modified", http_date(info->modified)}};
  const bool sent =
      co_await call.exchange.send_file(opened->fd.get(), info->bytes, "application/octet-stream", std::move(headers));
  if (!sent) co_return nobody_there();
  co_return streamed(200);
}

Task<Outcome> put_file(Call& call, std::string) {
  WEIR_CO_TRY(std::string path, absolute(call.parameter(1)));
  WEIR_CO_TRY(const std::uint32_t mode, mode_of(parameter(call.target, "mode")));
  if (is_on(call.target, "folder")) {
    auto made = co_await ask_done(call, {.what = Do::make_folder, .path = std::move(path)});
    co_return made;
  }
  if (call.exchange.head().content_type == "application/x-tar") {
    auto unpacked = co_await unpack(call, {.what = Do::untar, .path = std::move(path)});
    co_return unpacked;
  }
  auto put = co_await put_bytes(call, {.what = Do::put, .path = std::move(path), .mode = mode});
  co_return put;
}

Task<Outcome> delete_file(Call& call, std::string) {
  WEIR_CO_TRY(std::string path, absolute(call.parameter(1)));
  auto deleted = co_await ask_done(
      call, {.what = Do::remove, .path = std::move(path), .recursive = is_on(call.target, "recursive")});
  co_return deleted;
}

}  // namespace weir::daemon
