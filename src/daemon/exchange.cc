#include "daemon/exchange.h"

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kReceive = 65536;
constexpr std::size_t kSendfileBytes = 1u << 20;
constexpr std::size_t kLargeAnswer = 64u << 10;
constexpr std::size_t kMaxLinger = 4u << 20;
constexpr unsigned kLingerSeconds = 2;

std::unexpected<wire::Refusal> went_away() {
  return refuse(ErrorCode::bad_request, "the request ended in its middle");
}

std::unexpected<wire::Refusal> too_slow() {
  return refuse(ErrorCode::timeout, "the request did not come in time");
}

std::string hex(std::size_t number) {
  std::array<char, 20> text{};
  const int length = std::snprintf(text.data(), text.size(), "%zx", number);
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace

// Appends what comes; 0: the peer sends nothing more.
Task<wire::Answer<std::size_t>> Exchange::receive(Deadline deadline) {
  while (true) {
    const std::size_t before = pending_.size();
    pending_.resize(before + kReceive);
    const ssize_t count = ::recv(socket_.get(), pending_.data() + before, kReceive, 0);
    pending_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count >= 0) co_return static_cast<std::size_t>(count);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return went_away();
    const Waited waited = co_await waiter_->readable(deadline);
    if (waited == Waited::late) co_return too_slow();
    if (waited == Waited::failed) co_return went_away();
  }
}

Task<wire::Answer<bool>> Exchange::read_head() {
  reader_ = HttpReader();
  head_ = {};
  begun_ = false;
  body_done_ = true;
  pace_.reset();
  patience_ = std::chrono::seconds(kStallSeconds);
  if (pending_.empty()) {
    const auto first = co_await receive(in_seconds(kIdleSeconds));
    if (!first || *first == 0) co_return false;
  }
  const Deadline deadline = in_seconds(kHeadSeconds);
  while (true) {
    const auto used = reader_.take_head(pending_);
    if (!used) co_return std::unexpected(used.error());
    pending_.erase(0, *used);
    if (reader_.is_head()) break;
    const auto more = co_await receive(deadline);
    if (!more) co_return std::unexpected(more.error());
    if (*more == 0) co_return went_away();
  }
  head_ = reader_.head();
  body_left_ = head_.content_length.value_or(0);
  body_done_ = !head_.has_body;
  co_return true;
}

Task<wire::Answer<std::size_t>> Exchange::read_body(MutableBytes into) {
  if (body_done_) co_return std::size_t{0};
  // Others have their turn between two pieces, however fast this one comes.
  co_await asio::post(asio::use_awaitable);
  if (head_.expects_continue) {
    head_.expects_continue = false;
    if (pending_.empty()) {
      const bool sent = co_await send_all("HTTP/1.1 100 Continue\r\n\r\n");
      if (!sent) co_return went_away();
    }
  }
  if (!head_.content_length) {
    auto chunked = co_await read_chunked(into);
    co_return chunked;
  }
  std::size_t count = 0;
  if (pending_.empty()) {
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), body_left_));
    while (count == 0) {
      const ssize_t got = ::recv(socket_.get(), into.data(), wanted, 0);
      if (got > 0) count = static_cast<std::size_t>(got);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) co_return went_away();
      if (got < 0 && errno == EAGAIN) {
        const Waited waited = co_await waiter_->readable(Clock::now() + patience_);
        if (waited == Waited::late) co_return too_slow();
        if (waited == Waited::failed) co_return went_away();
      }
    }
  } else {
    count = static_cast<std::size_t>(std::min<std::uint64_t>({pending_.size(), into.size(), body_left_}));
    std::memcpy(into.data(), pending_.data(), count);
    pending_.erase(0, count);
  }
  body_left_ -= count;
  body_done_ = body_left_ == 0;
  co_return count;
}

Task<wire::Answer<std::size_t>> Exchange::read_chunked(MutableBytes into) {
  const Deadline deadline = Clock::now() + patience_;
  while (true) {
    const auto step = reader_.take_body(pending_, into);
    if (!step) co_return std::unexpected(step.error());
    pending_.erase(0, step->used);
    if (reader_.is_done()) body_done_ = true;
    if (step->made > 0 || body_done_) co_return step->made;
    if (step->used > 0) continue;
    const auto more = co_await receive(deadline);
    if (!more) co_return std::unexpected(more.error());
    if (*more == 0) co_return went_away();
  }
}

Task<wire::Answer<std::string>> Exchange::whole_body(std::size_t limit, Budget::Share& share) {
  const auto too_large = [&] {
    return refuse(ErrorCode::too_large, "the body is longer than " + std::to_string(limit) + " bytes");
  };
  if (head_.content_length.value_or(0) > limit) co_return too_large();
  std::string body;
  Pace pace;
  std::vector<std::uint8_t> part(kReceive);
  while (true) {
    const Deadline began = Clock::now();
    patience_ = std::min<Pace::Duration>(pace.left(), std::chrono::seconds(kStallSeconds));
    const auto count = co_await read_body(part);
    if (!count) co_return std::unexpected(count.error());
    if (*count == 0) co_return body;
    pace.waited(Clock::now() - began);
    pace.took(*count);
    if (*count > limit - body.size()) co_return too_large();
    if (!share.grow(*count)) {
      co_return refuse(ErrorCode::too_many, "too much is being sent at once", "come back in a moment");
    }
    body.append(as_text(Bytes(part).first(*count)));
  }
}

Task<bool> Exchange::send_all(std::string_view bytes) {
  while (!bytes.empty() && !broken_) {
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      sent_ += static_cast<std::uint64_t>(count);
      if (pace_) pace_->took(static_cast<std::uint64_t>(count));
      bytes.remove_prefix(static_cast<std::size_t>(count));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      const bool goes_on = co_await wait_for_reader();
      if (goes_on) continue;
    }
    broken_ = true;
  }
  co_return !broken_;
}

// False: it does not take anything in time.
Task<bool> Exchange::wait_for_reader() {
  const Deadline began = Clock::now();
  Deadline deadline = in_seconds(kStallSeconds);
  if (pace_) deadline = std::min(deadline, began + pace_->left());
  const Waited waited = co_await waiter_->writable(deadline);
  if (pace_) pace_->waited(Clock::now() - began);
  co_return waited == Waited::ready;
}

std::string Exchange::head_text(unsigned status, std::string_view type, const Headers& headers,
                                std::string_view framing) {
  begun_ = true;
  // What was not read of a body would be taken for the next request.
  if (!body_done_) head_.keep_alive = false;
  std::string text = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_phrase(status)) + "\r\n";
  if (!type.empty()) text += "Content-Type: " + std::string(type) + "\r\n";
  for (const auto& [name, value] : headers) text += name + ": " + value + "\r\n";
  // What a sandbox wrote is no page of this server's.
  text += "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n";
  if (!head_.keep_alive) text += "Connection: close\r\n";
  return text + std::string(framing) + "\r\n";
}

Task<bool> Exchange::send(const Reply& reply) {
  const std::string framing =
      reply.status == 204 ? "" : "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
  std::string text = head_text(reply.status, reply.type, reply.headers, framing);
  // What is large is held for a reader while others wait for the memory, and not twice.
  const bool is_large = reply.body.size() > kLargeAnswer;
  if (is_large) keep_pace();
  if (!is_large) text += reply.body;
  const bool begun = co_await send_all(text);
  if (!begun || !is_large) co_return begun;
  const bool sent = co_await send_all(reply.body);
  co_return sent;
}

Task<bool> Exchange::begin_stream(unsigned status, std::string type, Headers headers) {
  // To who knows no chunks the end of the connection is the end of the answer.
  if (head_.is_old) head_.keep_alive = false;
  const std::string text = head_text(status, type, headers, head_.is_old ? "" : "Transfer-Encoding: chunked\r\n");
  const bool sent = co_await send_all(text);
  co_return sent;
}

Task<bool> Exchange::write(std::string_view bytes) {
  if (bytes.empty()) co_return !broken_;
  // Others have their turn between two pieces, however fast this one is taken.
  co_await asio::post(asio::use_awaitable);
  std::string text = head_.is_old ? "" : hex(bytes.size()) + "\r\n";
  text += bytes;
  if (!head_.is_old) text += "\r\n";
  const bool sent = co_await send_all(text);
  co_return sent;
}

Task<bool> Exchange::end_stream() {
  const bool sent = co_await send_all(head_.is_old ? "" : "0\r\n\r\n");
  co_return sent;
}

Task<bool> Exchange::send_file(int file, std::uint64_t bytes, std::string type, Headers headers) {
  const std::string text = head_text(200, type, headers, "Content-Length: " + std::to_string(bytes) + "\r\n");
  const bool begun = co_await send_all(text);
  if (!begun) co_return false;
  off_t at = 0;
  while (bytes > 0 && !broken_) {
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kSendfileBytes));
    const ssize_t count = ::sendfile(socket_.get(), file, &at, wanted);
    if (count > 0) {
      sent_ += static_cast<std::uint64_t>(count);
      bytes -= static_cast<std::uint64_t>(count);
      // Others have their turn between two pieces.
      co_await asio::post(asio::use_awaitable);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      const bool goes_on = co_await wait_for_reader();
      if (goes_on) continue;
    }
    // A file that has become shorter cannot be sent in full either: the length was said before.
    broken_ = true;
  }
  co_return !broken_;
}

Task<> Exchange::close() {
  if (!socket_.valid()) co_return;
  ::shutdown(socket_.get(), SHUT_WR);
  const Deadline deadline = in_seconds(kLingerSeconds);
  std::size_t dropped = 0;
  while (dropped < kMaxLinger && Clock::now() < deadline) {
    pending_.clear();
    const auto more = co_await receive(deadline);
    if (!more || *more == 0) break;
    dropped += *more;
  }
}

std::pair<sys::OwnedFd, std::string> Exchange::take_over() {
  broken_ = true;
  begun_ = true;
  waiter_.reset();
  return {std::move(socket_), std::move(pending_)};
}

}  // namespace weir::daemon
