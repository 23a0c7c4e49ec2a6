#include "wire/tunnel_client.h"

#include <algorithm>
#include <cerrno>

namespace weir::wire {

namespace {

// Beyond the codes that a server writes.
constexpr int kNoLogin = 0x1ff;
constexpr int kWrongPassword = 0x1fe;

std::string connect_request(const Authority& target, std::string_view credentials) {
  const std::string where = text_of(target);
  std::string text = "CONNECT " + where + " HTTP/1.1\r\nHost: " + where + "\r\n";
  if (!credentials.empty()) text += "Proxy-Authorization: Basic " + base64(credentials) + "\r\n";
  return text + "\r\n";
}

}  // namespace

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = (group << 8) | (i + j < bytes.size() ? static_cast<std::uint8_t>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j) text += i + j <= bytes.size() ? kDigits[(group >> (18 - 6 * j)) & 63] : '=';
  }
  return text;
}

TunnelClient::TunnelClient(Kind kind, Authority target, std::string_view credentials)
    : kind_(kind), target_(std::move(target)) {
  if (kind_ == Kind::http) {
    output_ = connect_request(target_, credentials);
    return;
  }
  const std::size_t colon = credentials.find(':');
  user_ = credentials.substr(0, colon);
  if (colon != std::string_view::npos) password_ = credentials.substr(colon + 1);
  output_ = socks5::build_greeting(user_.empty() ? socks5::Offer::nothing : socks5::Offer::password);
}

std::size_t TunnelClient::feed(Bytes bytes) {
  if (state_ != State::talking) return 0;
  const Bytes allowed = bytes.first(std::min(bytes.size(), kMaxBytes - taken_));
  const std::size_t used = kind_ == Kind::http ? feed_http(allowed) : feed_socks(allowed);
  taken_ += used;
  if (state_ == State::talking && taken_ == kMaxBytes) end(State::broken, 0);
  return used;
}

std::size_t TunnelClient::feed_http(Bytes bytes) {
  std::size_t used = 0;
  while (state_ == State::talking) {
    const auto step = response_.feed(bytes.subspan(used));
    used += step.consumed;
    if (step.event == ResponseStream::Event::none) break;
    if (step.event != ResponseStream::Event::head) {
      end(State::broken, 0);
    } else if (const int status = response_.head().status; status >= 200) {
      end(status < 300 ? State::stands : State::refused, status);
    }
  }
  return used;
}

std::size_t TunnelClient::feed_socks(Bytes bytes) {
  std::size_t used = 0;
  // A server that answers what was not asked yet is read when it was.
  while (state_ == State::talking && output_.empty() && used < bytes.size()) {
    held_.push_back(bytes[used++]);
    take_socks();
  }
  return used;
}

void TunnelClient::take_socks() {
  using socks5::Offer;
  switch (awaiting_) {
    case Awaiting::choice: {
      const bool login = !user_.empty();
      const auto choice = socks5::parse_choice(held_, login ? Offer::password : Offer::nothing);
      if (login) return proceed(choice, Awaiting::password, socks5::build_password(user_, password_));
      return proceed(choice, Awaiting::answer, socks5::build_request(target_));
    }
    case Awaiting::password:
      return proceed(socks5::parse_password_outcome(held_), Awaiting::answer, socks5::build_request(target_));
    case Awaiting::answer:
      break;
  }
  const auto answer = socks5::parse_answer(held_);
  if (answer.progress == socks5::Progress::malformed) end(State::broken, 0);
  if (answer.progress != socks5::Progress::complete) return;
  end(answer.code == 0 ? State::stands : State::refused, answer.code);
}

void TunnelClient::proceed(const socks5::Choice& choice, Awaiting next, std::string say) {
  if (choice.progress == socks5::Progress::malformed) end(State::broken, 0);
  if (choice.progress != socks5::Progress::complete) return;
  if (!choice.accepted) return end(State::refused, awaiting_ == Awaiting::choice ? kNoLogin : kWrongPassword);
  held_.clear();
  awaiting_ = next;
  output_ = std::move(say);
}

void TunnelClient::end(State state, int code) {
  state_ = state;
  code_ = code;
}

int TunnelClient::error() const {
  if (state_ != State::refused) return EPROTO;
  if (kind_ == Kind::http) {
    if (code_ == 502 || code_ == 503) return EHOSTUNREACH;
    if (code_ == 504) return ETIMEDOUT;
    return EACCES;
  }
  using socks5::Reply;
  const auto is = [this](Reply reply) { return code_ == static_cast<int>(reply); };
  if (is(Reply::network_unreachable)) return ENETUNREACH;
  if (is(Reply::host_unreachable) || is(Reply::general_failure)) return EHOSTUNREACH;
  if (is(Reply::connection_refused)) return ECONNREFUSED;
  return is(Reply::ttl_expired) ? ETIMEDOUT : EACCES;
}

std::string TunnelClient::said() const {
  if (state_ != State::refused) return "no answer that can be read";
  if (kind_ == Kind::http) return "HTTP " + std::to_string(code_);
  return code_ >= kWrongPassword ? "SOCKS login refused" : "SOCKS " + std::to_string(code_);
}

}  // namespace weir::wire
