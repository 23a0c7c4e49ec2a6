#include "api.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/json_document.h"
#include "sys/unix_listener.h"

namespace weir::bench {
namespace {

constexpr std::size_t kBuffer = 1u << 20;

std::uint64_t number_of(std::string_view text, int base) {
  std::uint64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (failed != std::errc() || end == text.data()) die("the server sends '" + std::string(text) + "' as a number");
  return number;
}

}  // namespace

Api::Api(const std::string& socket) : socket_(or_die(sys::connect_unix(socket))), buffer_(kBuffer, '\0') {}

void Api::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) die_errno("cannot send a request");
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void Api::begin(std::string_view method, const std::string& target, std::uint64_t length) {
  send(std::string(method) + " " + target +
       " HTTP/1.1\r\nHost: weir\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(length) +
       "\r\n\r\n");
}

std::string_view Api::some(std::uint64_t most) {
  if (used_ == filled_) {
    const ssize_t count = ::recv(socket_.get(), buffer_.data(), buffer_.size(), 0);
    if (count <= 0) die("the server ended the connection");
    used_ = 0;
    filled_ = static_cast<std::size_t>(count);
  }
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(most, filled_ - used_));
  used_ += size;
  return std::string_view(buffer_).substr(used_ - size, size);
}

std::string Api::line() {
  std::string text;
  while (!text.ends_with("\r\n")) text += some(1);
  text.resize(text.size() - 2);
  return text;
}

void Api::receive_chunks(const Receiver& take) {
  while (true) {
    std::uint64_t left = number_of(line(), 16);
    const bool last = left == 0;
    while (left > 0) {
      const std::string_view piece = some(left);
      left -= piece.size();
      take(piece);
    }
    line();
    if (last) return;
  }
}

Api::Reply Api::receive(const Receiver& take) {
  const std::string status = line();
  Reply reply;
  reply.status =
      static_cast<int>(number_of(std::string_view(status).substr(std::min<std::size_t>(9, status.size())), 10));
  std::uint64_t length = 0;
  bool chunked = false;
  for (std::string header = line(); !header.empty(); header = line()) {
    std::ranges::transform(header, header.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    constexpr std::string_view kLength = "content-length: ";
    if (header.starts_with(kLength)) length = number_of(std::string_view(header).substr(kLength.size()), 10);
    if (header == "transfer-encoding: chunked") chunked = true;
  }
  if (chunked) receive_chunks(take);
  while (!chunked && length > 0) {
    const std::string_view piece = some(length);
    length -= piece.size();
    take(piece);
  }
  return reply;
}

Api::Reply Api::ask(std::string_view method, const std::string& target, std::string_view body, const Receiver& take) {
  begin(method, target, body.size());
  send(body);
  return receive(take);
}

Api::Reply Api::ask(std::string_view method, const std::string& target, std::string_view body) {
  std::string whole;
  Reply reply = ask(method, target, body, [&whole](std::string_view piece) { whole += piece; });
  reply.body = std::move(whole);
  return reply;
}

Api::Reply Api::put_file(const std::string& target, const std::string& path) {
  const sys::OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status{};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) die_errno("cannot open " + path);
  auto left = static_cast<std::uint64_t>(status.st_size);
  begin("PUT", target, left);
  while (left > 0) {
    const ssize_t count = ::sendfile(socket_.get(), file.get(), nullptr, left);
    if (count <= 0) die_errno("cannot send " + path);
    left -= static_cast<std::uint64_t>(count);
  }
  std::string whole;
  Reply reply = receive([&whole](std::string_view piece) { whole += piece; });
  reply.body = std::move(whole);
  return reply;
}

std::string Api::make_session(const std::string& body) {
  const Reply made = ask("POST", "/v1/sessions", body);
  if (made.status != 201) die("no session: " + made.body);
  const Json document = or_die(parse_json(made.body));
  const Json* const id = json_member(document, "id");
  if (id == nullptr || !id->is_string()) die("a session without an id");
  return id->get<std::string>();
}

void Api::end_session(const std::string& id) {
  const Reply ended = ask("DELETE", "/v1/sessions/" + id + "?kill=1");
  if (ended.status != 204) die("a session does not end: " + ended.body);
}

}  // namespace weir::bench
