#include "wire/client_hello.h"

#include <algorithm>

namespace weir::wire {

namespace {

constexpr std::uint8_t kHandshakeRecord = 22;
constexpr std::uint8_t kClientHello = 1;
constexpr std::size_t kMessageHeader = 4;
constexpr std::size_t kMaxFragment = 1 << 14;  // RFC 8446 5.1
constexpr std::uint16_t kServerName = 0;

// draft-ietf-tls-esni: the final number, those of its drafts 08-12, and ESNI before it.
bool hides_a_name(std::uint16_t extension) {
  return (extension >= 0xfe08 && extension <= 0xfe0d) || extension == 0xffce;
}

std::optional<Bytes> take_u8_vector(ByteReader& reader) {
  const auto size = reader.u8();
  return size ? reader.take(*size) : std::nullopt;
}
std::optional<Bytes> take_u16_vector(ByteReader& reader) {
  const auto size = reader.u16();
  return size ? reader.take(*size) : std::nullopt;
}

// False: the extension does not have its format.
bool read_server_name(Bytes data, ClientHello& hello) {
  ByteReader outer(data);
  const auto list = take_u16_vector(outer);
  if (!list || outer.remaining() != 0 || list->empty()) return false;
  const bool seen_before = hello.sni != Sni::absent;
  std::size_t entries = 0;
  ByteReader reader(*list);
  while (reader.remaining() > 0) {
    const auto type = reader.u8();
    const auto text = take_u16_vector(reader);
    if (!text) return false;
    ++entries;
    hello.sni = Sni::not_host_name;
    // RFC 6066 3 sends it without a trailing dot; servers disagree about one that is there.
    if (*type != 0 || as_text(*text).ends_with('.')) continue;
    if (auto name = net::DomainName::parse(as_text(*text))) {
      hello.sni = Sni::host_name;
      hello.name = std::move(*name);
    }
  }
  if (entries > 1 || seen_before) hello.sni = Sni::several;
  if (hello.sni != Sni::host_name) hello.name.reset();
  return true;
}

bool read_extensions(Bytes extensions, ClientHello& hello) {
  ByteReader reader(extensions);
  while (reader.remaining() > 0) {
    const auto type = reader.u16();
    const auto data = take_u16_vector(reader);
    if (!data) return false;
    if (hides_a_name(*type)) hello.has_ech = true;
    if (*type == kServerName && !read_server_name(*data, hello)) return false;
  }
  return true;
}

// `body` is the message without its header.
std::optional<ClientHello> parse_hello(Bytes body) {
  ByteReader reader(body);
  const auto version = reader.u16();
  const auto random = reader.take(32);
  const auto session_id = take_u8_vector(reader);
  const auto cipher_suites = take_u16_vector(reader);
  const auto compressions = take_u8_vector(reader);
  if (!version || !random || !session_id || !cipher_suites || !compressions) return std::nullopt;
  if (*version >> 8 != 3 || session_id->size() > 32) return std::nullopt;
  if (cipher_suites->empty() || cipher_suites->size() % 2 != 0 || compressions->empty()) return std::nullopt;
  ClientHello hello;
  if (reader.remaining() == 0) return hello;  // before TLS 1.3 extensions could be missing altogether
  const auto extensions = take_u16_vector(reader);
  if (!extensions || reader.remaining() != 0 || !read_extensions(*extensions, hello)) return std::nullopt;
  return hello;
}

// 1xxxxxxx xxxxxxxx 01 and version 3.x or 0.2 (RFC 5246 E.2): some servers still take it. It cannot name a server.
Look looks_like_sslv2(Bytes prefix) {
  if ((prefix[0] & 0x80) == 0) return Look::no;
  if (prefix.size() < 3) return Look::need_more;
  if (prefix[2] != kClientHello) return Look::no;
  if (prefix.size() < 4) return Look::need_more;
  if (prefix[3] == 3) return Look::yes;
  if (prefix[3] != 0) return Look::no;
  if (prefix.size() < 5) return Look::need_more;
  return prefix[4] == 2 ? Look::yes : Look::no;
}

}  // namespace

Look looks_like_tls(Bytes prefix) {
  if (prefix.empty()) return Look::need_more;
  // Change cipher spec, alert, handshake, application data, heartbeat.
  if (prefix[0] < 20 || prefix[0] > 24) return looks_like_sslv2(prefix);
  if (prefix.size() < 2) return Look::need_more;
  if (prefix[1] == 3) return Look::yes;
  // Go's server looks only at the upper four bits of a first record's version. What tells such a record from, say, a
  // little-endian length is the message type behind the header.
  if (prefix[0] != kHandshakeRecord || prefix[1] >= 0x10) return Look::no;
  if (prefix.size() < 6) return Look::need_more;
  return prefix[5] == kClientHello ? Look::yes : Look::no;
}

ClientHelloReader::State ClientHelloReader::feed(Bytes chunk) {
  while (state_ == State::need_more && !looks_like_tls_ && !chunk.empty()) {
    prefix_[prefix_size_++] = chunk.front();
    chunk = chunk.subspan(1);
    const Bytes prefix = Bytes(prefix_).first(prefix_size_);
    const Look look = looks_like_tls(prefix);
    if (look == Look::no) return state_ = State::not_tls;
    if (look == Look::need_more) continue;
    looks_like_tls_ = true;
    consume(prefix);
  }
  consume(chunk);
  return state_;
}

void ClientHelloReader::consume(Bytes bytes) {
  while (state_ == State::need_more && !bytes.empty()) {
    if (taken_ == kMaxStream) {
      state_ = State::malformed;
      return;
    }
    std::size_t used = 1;
    if (record_left_ == 0) {
      state_ = take_header_byte(bytes.front());
    } else {
      used = std::min({bytes.size(), record_left_, kMaxStream - taken_});
      state_ = take_fragment(bytes.first(used));
    }
    taken_ += used;
    bytes = bytes.subspan(used);
  }
}

ClientHelloReader::State ClientHelloReader::take_header_byte(std::uint8_t byte) {
  header_[header_size_++] = byte;
  const bool right_type = header_[0] == kHandshakeRecord;
  const bool right_version = header_size_ < 2 || header_[1] == 3;
  const bool minor_known = header_size_ < 3 || header_[2] <= 4;
  if (!right_type || !right_version || !minor_known) return State::malformed;
  if (header_size_ < header_.size()) return State::need_more;
  header_size_ = 0;
  record_left_ = (static_cast<std::size_t>(header_[3]) << 8) | header_[4];
  // Empty fragments of the handshake type are forbidden (RFC 8446 5.1).
  return record_left_ == 0 || record_left_ > kMaxFragment ? State::malformed : State::need_more;
}

ClientHelloReader::State ClientHelloReader::take_fragment(Bytes fragment) {
  record_left_ -= fragment.size();
  handshake_.insert(handshake_.end(), fragment.begin(), fragment.end());
  if (handshake_[0] != kClientHello) return State::malformed;
  if (handshake_.size() < kMessageHeader) return State::need_more;
  ByteReader reader(Bytes(handshake_).subspan(1));
  const std::size_t body_size = *reader.u24();
  if (body_size > kMaxStream) return State::malformed;
  if (handshake_.size() - kMessageHeader < body_size) return State::need_more;
  // A client says nothing more before the server has answered, least of all in the same record (RFC 8446 5.1).
  if (handshake_.size() - kMessageHeader > body_size || record_left_ != 0) return State::malformed;
  auto hello = parse_hello(Bytes(handshake_).subspan(kMessageHeader));
  if (!hello) return State::malformed;
  hello_ = std::move(*hello);
  return State::complete;
}

}  // namespace weir::wire
