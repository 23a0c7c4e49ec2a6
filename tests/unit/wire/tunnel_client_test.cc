#include "wire/tunnel_client.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "wire_test_bytes.h"

namespace weir::wire {
namespace {

using namespace std::string_literals;
using State = TunnelClient::State;
using Kind = TunnelClient::Kind;

Authority target(const char* text) {
  return *parse_authority(text);
}

TunnelClient client(Kind kind, std::string_view credentials = "") {
  TunnelClient made(kind, target("a.example:443"), credentials);
  if (kind == Kind::http) made.take_output();
  return made;
}

// All of it, one byte at a time; how many bytes it took.
std::size_t feed_slowly(TunnelClient& made, const std::string& bytes) {
  std::size_t used = 0;
  for (const char c : bytes) {
    made.take_output();
    used += made.feed(exact_copy(as_bytes(std::string(1, c)))->bytes());
  }
  return used;
}

TEST(TunnelClient, AsksForTheTargetByName) {
  TunnelClient plain(Kind::http, target("a.example:443"), "");
  EXPECT_EQ(plain.take_output(), "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
  TunnelClient user(Kind::http, target("[2001:db8::1]:80"), "Aladdin:open sesame");  // RFC 7617 2
  EXPECT_EQ(user.take_output(),
            "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"
            "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n");
}

TEST(TunnelClient, Base64) {  // RFC 4648 10
  const char* const rows[][2] = {{"", ""},
                                 {"f", "Zg=="},
                                 {"fo", "Zm8="},
                                 {"foo", "Zm9v"},
                                 {"foob", "Zm9vYg=="},
                                 {"fooba", "Zm9vYmE="},
                                 {"foobar", "Zm9vYmFy"}};
  for (const auto& row : rows) EXPECT_EQ(base64(row[0]), row[1]);
}

struct Reply {
  Kind kind;
  std::string bytes;
  State state;
  std::string said;  // of a failure
  int error = EPROTO;
};

const Reply kReplies[] = {
    {Kind::http, "HTTP/1.1 200 Connection established\r\n\r\n", State::stands, ""},
    {Kind::http, "HTTP/1.0 200\r\n\r\n", State::stands, ""},
    {Kind::http, "HTTP/1.1 299 Fine\r\nContent-Length: 9\r\n\r\n", State::stands, ""},
    {Kind::http, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", State::stands, ""},
    {Kind::http, "HTTP/1.1 403 Forbidden\r\n\r\n", State::refused, "HTTP 403", EACCES},
    {Kind::http, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", State::refused, "HTTP 407", EACCES},
    {Kind::http, "HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", State::refused, "HTTP 302", EACCES},
    {Kind::http, "HTTP/1.1 502 Bad Gateway\r\n\r\n", State::refused, "HTTP 502", EHOSTUNREACH},
    {Kind::http, "HTTP/1.1 504 Gateway Timeout\r\n\r\n", State::refused, "HTTP 504", ETIMEDOUT},
    {Kind::http, "HTTP/1.1 101 Switching Protocols\r\n\r\n", State::broken, "no answer that can be read"},
    {Kind::http, "HTTP/2 200 OK\r\n", State::broken, "no answer that can be read"},
    {Kind::http, "HTTP/1.1 200 OK\n\n", State::broken, "no answer that can be read"},
    {Kind::http, "\x05\x00\r\n"s, State::broken, "no answer that can be read"},
    {Kind::http, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", State::broken,
     "no answer that can be read"},
    {Kind::socks, "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"s, State::stands, ""},
    {Kind::socks, "\x05\x00\x05\x00\x00\x03\x01x\x12\x34"s, State::stands, ""},
    {Kind::socks, "\x05\x00\x05\x00\x00\x04"s + std::string(18, '\1'), State::stands, ""},
    {Kind::socks, "\x05\xff"s, State::refused, "SOCKS login refused", EACCES},
    {Kind::socks, "\x05\x02"s, State::broken, "no answer that can be read"},
    {Kind::socks, "\x04\x00"s, State::broken, "no answer that can be read"},
    {Kind::socks, "\x05\x00\x05\x01"s, State::refused, "SOCKS 1", EHOSTUNREACH},
    {Kind::socks, "\x05\x00\x05\x02"s, State::refused, "SOCKS 2", EACCES},
    {Kind::socks, "\x05\x00\x05\x03"s, State::refused, "SOCKS 3", ENETUNREACH},
    {Kind::socks, "\x05\x00\x05\x05"s, State::refused, "SOCKS 5", ECONNREFUSED},
    {Kind::socks, "\x05\x00\x05\x06"s, State::refused, "SOCKS 6", ETIMEDOUT},
    {Kind::socks, "\x05\x00\x05\xfe"s, State::refused, "SOCKS 254", EACCES},
    {Kind::socks, "\x05\x00\x05\x00\x01\x01\x00"s, State::broken, "no answer that can be read"},
    {Kind::socks, "\x05\x00\x05\x00\x00\x02\x00"s, State::broken, "no answer that can be read"},
    {Kind::socks, "\x05\x00HTTP"s, State::broken, "no answer that can be read"},
};

TEST(TunnelClient, ReadsTheReplyAndNotAByteMore) {
  for (const Reply& row : kReplies) {
    TunnelClient slow = client(row.kind);
    EXPECT_LE(feed_slowly(slow, row.bytes), row.bytes.size());
    EXPECT_EQ(slow.state(), row.state) << row.bytes;
    if (row.state != State::stands) {
      EXPECT_EQ(slow.said(), row.said) << row.bytes;
      EXPECT_EQ(slow.error(), row.error) << row.bytes;
      continue;
    }
    EXPECT_EQ(feed_slowly(slow, "tunnel"), 0u) << "what follows is the tunnel's";
    TunnelClient quick = client(row.kind);
    const std::string all = row.bytes + "tunnel";
    std::size_t used = 0;
    for (int turn = 0; turn < 4; ++turn) {
      quick.take_output();
      used += quick.feed(exact_copy(as_bytes(all.substr(used)))->bytes());
    }
    EXPECT_EQ(used, row.bytes.size()) << row.bytes;
    EXPECT_EQ(quick.state(), State::stands) << row.bytes;
  }
}

TEST(TunnelClient, LogsInToASocksServer) {
  TunnelClient made(Kind::socks, target("a.example:443"), "me:pass:word");
  EXPECT_EQ(made.take_output(), "\x05\x01\x02"s) << "nothing less than the password is offered";
  EXPECT_EQ(made.feed(as_bytes("\x05\x02")), 2u);
  EXPECT_EQ(made.take_output(), "\x01\x02me\x09pass:word"s);
  EXPECT_EQ(made.feed(as_bytes("\x01\x00"s)), 2u);
  EXPECT_EQ(made.take_output(), "\x05\x01\x00\x03\x09"s + "a.example" + "\x01\xbb"s);
  TunnelClient wrong(Kind::socks, target("a.example:443"), "me:pass");
  EXPECT_EQ(feed_slowly(wrong, "\x05\x02\x01\x01"s), 4u);
  EXPECT_EQ(wrong.said(), "SOCKS login refused");
  TunnelClient downgraded(Kind::socks, target("a.example:443"), "me:pass");
  feed_slowly(downgraded, "\x05\x00"s);
  EXPECT_EQ(downgraded.state(), State::broken) << "a method that was not offered";
}

TEST(TunnelClient, AddressesAreSaidAsAddresses) {
  TunnelClient four(Kind::socks, target("192.0.2.1:80"), "");
  four.take_output();
  four.feed(as_bytes("\x05\x00"s));
  EXPECT_EQ(four.take_output(), "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"s);
  TunnelClient six(Kind::socks, target("[2001:db8::1]:80"), "");
  six.take_output();
  six.feed(as_bytes("\x05\x00"s));
  EXPECT_EQ(six.take_output().substr(0, 8), "\x05\x01\x00\x04\x20\x01\x0d\xb8"s);
}

TEST(TunnelClient, AProxyThatNeverEndsIsGivenUp) {
  TunnelClient made = client(Kind::http);
  const std::string line = "X-Filler: " + std::string(100, 'x') + "\r\n";
  std::size_t used = made.feed(as_bytes("HTTP/1.1 200 OK\r\n"));
  while (made.state() == State::talking && used < 10 * TunnelClient::kMaxBytes) used += made.feed(as_bytes(line));
  EXPECT_EQ(made.state(), State::broken);
  EXPECT_LE(used, TunnelClient::kMaxBytes);
}

}  // namespace
}  // namespace weir::wire
