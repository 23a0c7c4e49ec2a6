#include "gateway/resolver/lookup.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace weir::gateway {

namespace {

namespace dns = wire::dns;

constexpr std::size_t kMaxStreamAnswer = 2 + dns::kMaxMessage;

// Another server may do better.
bool is_trouble(dns::Rcode rcode) {
  return rcode != dns::Rcode::no_error && rcode != dns::Rcode::name_error;
}

}  // namespace

Lookup::Lookup(sys::Reactor& reactor, Link& link, Question question, std::size_t servers, MayFollow may_follow,
               OnDone on_done)
    : reactor_(reactor),
      link_(link),
      asked_(question),
      name_(std::move(question.name)),
      servers_(servers),
      may_follow_(std::move(may_follow)),
      on_done_(std::move(on_done)) {}

Lookup::~Lookup() {
  reactor_.cancel(timer_);
  drop_socket();
}

void Lookup::start() {
  ask_for_socket();
}

void Lookup::ask_for_socket() {
  query_ = link_.next_id();
  waiting_for_socket_ = true;
  const auto server = static_cast<std::uint8_t>(servers_ == 0 ? 0 : attempt_ % servers_);
  timer_ = reactor_.at(reactor_.now_ms() + kAttemptMs, [this] { next_attempt(); });
  link_.send(control::OpenResolver{.query = query_, .server = server, .tcp = tcp_});
}

void Lookup::next_attempt() {
  drop_socket();
  reactor_.cancel(timer_);
  tcp_ = false;
  if (++attempt_ >= servers_ * kRounds) return finish({});
  ask_for_socket();
}

void Lookup::on_socket(sys::OwnedFd socket, int error) {
  if (!waiting_for_socket_) return;
  waiting_for_socket_ = false;
  if (error != 0 || !socket.valid()) return next_attempt();
  socket_ = std::move(socket);
  if (!reactor_.watch(socket_.get(), EPOLLIN, *this)) return next_attempt();
  send_question();
}

// Each question is built afresh: a random identifier and random letter case, nothing of the guest's.
void Lookup::send_question() {
  std::array<std::uint8_t, 34> random{};
  WEIR_ASSERT(::getrandom(random.data(), random.size(), 0) == static_cast<ssize_t>(random.size()));
  const auto id = static_cast<std::uint16_t>((random[32] << 8) | random[33]);
  // Over TCP nobody can forge an answer from afar, and servers that fold case must be understood there.
  if (tcp_) random.fill(0);
  sent_ = dns::make_upstream_query(name_, asked_.type, id, std::span<const std::uint8_t, 32>(random.data(), 32));
  std::array<std::uint8_t, 2 + dns::kMinUdpSize> buffer{};
  const Bytes query = dns::write_query(sent_, MutableBytes(buffer).subspan(2));
  buffer[0] = static_cast<std::uint8_t>(query.size() >> 8);
  buffer[1] = static_cast<std::uint8_t>(query.size());
  const Bytes outgoing = tcp_ ? Bytes(buffer).first(query.size() + 2) : query;
  // A fresh socket takes a packet of this size whole or not at all.
  const ssize_t sent = ::send(socket_.get(), outgoing.data(), outgoing.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(outgoing.size())) next_attempt();
}

void Lookup::on_events(std::uint32_t) {
  if (!socket_.valid()) return;
  if (tcp_) {
    read_stream();
  } else {
    read_datagrams();
  }
}

void Lookup::read_datagrams() {
  std::array<std::uint8_t, 4096> buffer;
  while (socket_.valid()) {
    const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) return next_attempt();  // the server's port is closed
    if (take(Bytes(buffer).first(static_cast<std::size_t>(count)))) return;
    // A stray or forged datagram: the real one may still come.
  }
}

void Lookup::read_stream() {
  std::array<std::uint8_t, 4096> buffer;
  const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count <= 0 || stream_.size() + static_cast<std::size_t>(count) > kMaxStreamAnswer) return next_attempt();
  stream_.insert(stream_.end(), buffer.begin(), buffer.begin() + count);
  if (stream_.size() < 2) return;
  const std::size_t length = (static_cast<std::size_t>(stream_[0]) << 8) | stream_[1];
  if (stream_.size() < length + 2) return;
  const std::vector<std::uint8_t> message(stream_.begin() + 2,
                                          stream_.begin() + 2 + static_cast<std::ptrdiff_t>(length));
  if (!take(message)) next_attempt();
}

// True if the bytes ended this attempt, one way or the other: nothing more is read from this socket.
bool Lookup::take(Bytes message) {
  auto response = dns::parse_response(message, sent_);
  if (!response) {
    switch (response.error()) {
      case dns::ResponseFault::not_ours:
        return false;
      case dns::ResponseFault::case_mismatch:
        if (tcp_) break;
        ask_over_tcp();
        return true;
      case dns::ResponseFault::malformed:
      case dns::ResponseFault::chain:
        break;
    }
    next_attempt();
    return true;
  }
  if (response->truncated && !tcp_) {
    ask_over_tcp();
  } else if (response->truncated || is_trouble(response->rcode)) {
    next_attempt();
  } else {
    answered(std::move(*response));
  }
  return true;
}

void Lookup::answered(dns::Response response) {
  found_.rcode = response.rcode;
  found_.ttl = std::min(found_.ttl, response.ttl);
  found_.aliases.insert(found_.aliases.end(), response.chain.begin(), response.chain.end());
  if (found_.aliases.size() > dns::kMaxChain) return finish({});
  const bool at_end = !response.addresses.empty() || !response.records.empty() || response.chain.empty();
  if (at_end || response.rcode != dns::Rcode::no_error) {
    found_.addresses = std::move(response.addresses);
    found_.records = std::move(response.records);
    return finish(std::move(found_));
  }
  // The server did not follow its own chain: ask for its end, unless the policy keeps that name from being asked.
  if (!may_follow_(found_.aliases.back())) return finish(std::move(found_));
  name_ = found_.aliases.back();
  attempt_ = 0;
  tcp_ = false;
  drop_socket();
  reactor_.cancel(timer_);
  ask_for_socket();
}

void Lookup::ask_over_tcp() {
  drop_socket();
  reactor_.cancel(timer_);
  tcp_ = true;
  ask_for_socket();
}

void Lookup::drop_socket() {
  waiting_for_socket_ = false;
  if (socket_.valid()) reactor_.forget(socket_.get());
  socket_.reset();
  stream_.clear();
}

void Lookup::finish(Found found) {
  drop_socket();
  reactor_.cancel(timer_);
  // The owner may destroy this object in the callback: it is the last thing done here.
  const OnDone on_done = std::move(on_done_);
  on_done(std::move(found));
}

}  // namespace weir::gateway
