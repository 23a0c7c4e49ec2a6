#include "wire/first_flight.h"

#include <gtest/gtest.h>

#include <string>

#include "wire_test_bytes.h"

namespace weir::wire {
namespace {

using Verdict = FirstFlightSniffer::Verdict;
using namespace std::string_literals;

// A whole ClientHello for a.example in one record.
std::string hello() {
  const std::string name = "\0\x0c\0\0\x09"s + "a.example";
  const std::string extensions = "\0\0\0\x0e"s + name;
  const std::string body = "\3\3" + std::string(32, 'r') + "\0\0\2\x13\1\1\0\0\x12"s + extensions;
  const std::string message = "\1\0\0"s + static_cast<char>(body.size()) + body;
  return "\x16\3\1\0"s + static_cast<char>(message.size()) + message;
}

Verdict sniff(Expect expect, const std::string& bytes, std::size_t size) {
  FirstFlightSniffer sniffer(expect);
  for (std::size_t at = 0; at < bytes.size(); at += size) sniffer.feed(as_bytes(bytes.substr(at, size)));
  EXPECT_EQ(to_string(sniffer.held()), bytes);
  return sniffer.verdict();
}

TEST(Http1Prefix, TellsHttpFromTheRest) {
  const struct {
    std::string prefix;
    HttpLook look;
  } rows[] = {
      {"", HttpLook::need_more},
      {"G", HttpLook::need_more},
      {"GET", HttpLook::need_more},
      {"GET /", HttpLook::need_more},
      {"GET / HTTP/", HttpLook::need_more},
      {"GET / HTTP/1", HttpLook::http1},
      {"GET / HTTP/1.1\r\n", HttpLook::http1},
      {"X-ANY!#$ http://a.example/?q HTTP/1.0", HttpLook::http1},
      {"GET /HTTP/1", HttpLook::http1},
      {"GET /HTTP/1.1\r", HttpLook::http1},
      {"GET HTTP/1", HttpLook::http1},
      {"GET / HTTHTTP/1.1\r\n", HttpLook::http1},
      {"GET / HTTP/9", HttpLook::http1},
      {"PRI * HTTP/2", HttpLook::h2c},
      // Refused later, but HTTP all the same.
      {"\r\n\nGET / HTTP/1", HttpLook::http1},
      {"GET  /  HTTP/1", HttpLook::http1},
      {"GET\t/\tHTTP/1", HttpLook::http1},
      {"GET /a b c HTTP/1", HttpLook::http1},
      {"get / http/1", HttpLook::http1},
      {" GET / HTTP/1", HttpLook::http1},
      {"\tGET / HTTP/1", HttpLook::http1},
      {"GET/ HTTP/1", HttpLook::http1},
      {"GET\x0b/\x0bHTTP/1", HttpLook::http1},
      {"GET\xa0/\xa0HTTP/1", HttpLook::http1},
      {"GET\x85/\x85HTTP/1", HttpLook::http1},
      {"GET /\x01 HTTP/1", HttpLook::http1},
      {"GET /\xff HTTP/1", HttpLook::http1},
      // Not HTTP.
      {"GET /\r\n", HttpLook::no},
      {"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", HttpLook::no},
      {"SSH-2.0-x\r\n", HttpLook::no},
      {"EHLO a.example\r\n", HttpLook::no},
      {"*1\r\n$4\r\nPING\r\n", HttpLook::no},
      {"\x16\3\1", HttpLook::no},
      {"\0\0\0\x08"s, HttpLook::no},
      {"ssh\x80 HTTP/1", HttpLook::no},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(looks_like_http1(as_bytes(row.prefix)), row.look) << row.prefix;
    Http1Prefix slow;
    HttpLook look = HttpLook::need_more;
    for (const char c : row.prefix) look = slow.feed(as_bytes(std::string_view(&c, 1)));
    EXPECT_EQ(look, row.look) << row.prefix;
  }
}

TEST(FirstFlight, JudgesByWhatThePortExpects) {
  const std::string http = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const std::string ssh = "SSH-2.0-x\r\n";
  const std::string broken = "\x16\3\1\0\0"s;
  const std::string sslv2 = "\x80\x2e\1\3\1"s;
  const struct {
    Expect expect;
    std::string bytes;
    Verdict verdict;
  } rows[] = {
      {Expect::tls, hello(), Verdict::tls},         {Expect::http, hello(), Verdict::opaque},
      {Expect::either, hello(), Verdict::tls},      {Expect::tls, http, Verdict::opaque},
      {Expect::http, http, Verdict::http},          {Expect::either, http, Verdict::http},
      {Expect::tls, preface, Verdict::opaque},      {Expect::http, preface, Verdict::h2c},
      {Expect::either, preface, Verdict::h2c},      {Expect::tls, ssh, Verdict::opaque},
      {Expect::http, ssh, Verdict::opaque},         {Expect::either, ssh, Verdict::opaque},
      {Expect::tls, broken, Verdict::malformed},    {Expect::http, broken, Verdict::opaque},
      {Expect::either, broken, Verdict::malformed}, {Expect::either, sslv2, Verdict::malformed},
      {Expect::tls, sslv2, Verdict::malformed},
  };
  for (const auto& row : rows) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{5}, row.bytes.size()}) {
      EXPECT_EQ(sniff(row.expect, row.bytes, size), row.verdict) << row.bytes << size;
    }
  }
}

TEST(FirstFlight, NamesTheServerAndKeepsEveryByte) {
  FirstFlightSniffer sniffer(Expect::either);
  for (const char c : hello()) sniffer.feed(as_bytes(std::string_view(&c, 1)));
  EXPECT_EQ(sniffer.hello().name->text(), "a.example");
  EXPECT_EQ(sniffer.feed(as_bytes("early")), Verdict::tls);
  EXPECT_EQ(to_string(sniffer.held()), hello() + "early");
}

TEST(FirstFlight, WaitsAtEveryShorterLength) {
  for (std::size_t size = 0; size < hello().size(); ++size) {
    FirstFlightSniffer sniffer(Expect::either);
    EXPECT_EQ(sniffer.feed(as_bytes(hello().substr(0, size))), Verdict::need_more) << size;
  }
}

TEST(FirstFlight, DoesNotWaitForEver) {
  const std::string endless(FirstFlightSniffer::kMaxUndecided, 'A');
  EXPECT_EQ(sniff(Expect::either, endless.substr(1), 999), Verdict::need_more);
  EXPECT_EQ(sniff(Expect::either, endless, 999), Verdict::malformed);
  EXPECT_EQ(sniff(Expect::http, "GET /" + endless, 999), Verdict::malformed);
  EXPECT_EQ(sniff(Expect::tls, endless, 999), Verdict::opaque);
}

}  // namespace
}  // namespace weir::wire
