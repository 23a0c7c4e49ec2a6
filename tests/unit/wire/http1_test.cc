#include "wire/http1.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "wire_test_bytes.h"

namespace weir::wire {
namespace {

using Event = RequestStream::Event;
using namespace std::string_literals;

struct Walk {
  std::vector<std::string> authorities;
  std::string forwarded;
  std::string left;  // not consumed when the walk ended
  Event end = Event::none;
  HttpFault fault{};
};

// Approves every head. Feeds at most `size` bytes at a time.
Walk walk(RequestStream& stream, std::string_view bytes, std::size_t size) {
  Walk result;
  for (;;) {
    const auto exact = exact_copy(as_bytes(bytes.substr(0, size)));
    const auto step = stream.feed(exact->bytes());
    EXPECT_LE(step.pass, step.consumed);
    result.forwarded += bytes.substr(0, step.pass);
    bytes.remove_prefix(step.consumed);
    result.end = step.event;
    if (step.event == Event::head) {
      result.authorities.push_back(text_of(stream.head().authority));
      result.forwarded += as_text(stream.approve());
      continue;
    }
    if (step.event != Event::none || bytes.empty()) break;
  }
  result.left = bytes;
  if (result.end == Event::refused) result.fault = stream.fault();
  return result;
}

// Every way to cut the stream must come to the same end.
Walk walk_all(std::string_view bytes) {
  RequestStream whole_stream, slow_stream, odd_stream;
  const Walk whole = walk(whole_stream, bytes, bytes.size() + 1);
  const Walk slow = walk(slow_stream, bytes, 1);
  const Walk odd = walk(odd_stream, bytes, 7);
  for (const Walk* other : {&slow, &odd}) {
    EXPECT_EQ(other->authorities, whole.authorities);
    EXPECT_EQ(other->forwarded, whole.forwarded);
    EXPECT_EQ(other->end, whole.end);
    EXPECT_EQ(other->fault, whole.fault);
  }
  EXPECT_TRUE(bytes.starts_with(whole.forwarded));
  return whole;
}

std::string get(const std::string& host, const std::string& more = "") {
  return "GET / HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n";
}
std::string post(const std::string& fields, const std::string& body) {
  return "POST /x HTTP/1.1\r\nHost: a.example\r\n" + fields + "\r\n" + body;
}

TEST(RequestStream, ReportsEveryRequestOfAConnection) {
  const std::string bytes = get("a.example") + post("Content-Length: 11\r\n", "GET / HTTP/") +
                            post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n") +
                            get("B.Example:8080") + get("[2001:db8::1]:80") + get("192.0.2.7") +
                            post("Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n") +
                            post("Content-Length: 0\r\n", "") + get("c.example");
  const Walk result = walk_all(bytes);
  EXPECT_EQ(result.authorities,
            (std::vector{"a.example"s, "a.example"s, "a.example"s, "b.example:8080"s, "[2001:db8::1]:80"s, "192.0.2.7"s,
                         "a.example"s, "a.example"s, "c.example"s}));
  EXPECT_EQ(result.forwarded, bytes);
  EXPECT_EQ(result.end, Event::none);
}

TEST(RequestStream, NothingOfAHeadPassesBeforeItIsApproved) {
  RequestStream stream;
  const std::string first = post("Content-Length: 3\r\n", "abc");
  const std::string second = get("evil.example");
  const std::string bytes = first + second + "rest";
  auto step = stream.feed(as_bytes(bytes));
  EXPECT_EQ(step.event, Event::head);
  EXPECT_EQ(step.pass, 0u);
  EXPECT_EQ(step.consumed, first.size() - 3);
  step = stream.feed(as_bytes(std::string_view(bytes).substr(first.size() - 3)));
  EXPECT_EQ(step.event, Event::head) << "still waiting for approval";
  EXPECT_EQ(step.consumed, 0u);
  EXPECT_EQ(to_string(stream.approve()), first.substr(0, first.size() - 3));
  step = stream.feed(as_bytes(std::string_view(bytes).substr(first.size() - 3)));
  EXPECT_EQ(step.event, Event::head);
  EXPECT_EQ(step.pass, 3u) << "the body only";
  EXPECT_EQ(step.consumed, 3 + second.size());
  EXPECT_EQ(text_of(stream.head().authority), "evil.example");
  EXPECT_EQ(stream.request_count(), 2u);
}

TEST(RequestStream, HoldsAnIncompleteHeadAtEveryLength) {
  const std::string bytes = get("a.example", "X: y\r\n");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    RequestStream stream;
    const auto step = stream.feed(as_bytes(std::string_view(bytes).substr(0, size)));
    EXPECT_EQ(step.event, Event::none);
    EXPECT_EQ(step.consumed, size);
    EXPECT_EQ(step.pass, 0u);
  }
}

TEST(RequestStream, ComparesTheTargetWithHost) {
  const struct {
    const char* target;
    const char* host;
    const char* authority;  // nullptr: a mismatch
  } rows[] = {
      {"http://a.example/", "a.example", "a.example"},
      {"http://A.Example./x?y", "a.example", "a.example"},
      {"HTTP://a.example", "a.example", "a.example"},
      {"http://a.example?q", "a.example", "a.example"},
      {"http://a.example:80/", "a.example", "a.example:80"},
      {"http://a.example/", "a.example:80", "a.example:80"},
      {"https://a.example/", "a.example:443", "a.example:443"},
      {"http://[2001:db8::1]/", "[2001:DB8:0::1]", "[2001:db8::1]"},
      {"http://[::ffff:192.0.2.1]/", "192.0.2.1", "192.0.2.1"},
      {"http://a.example:8080/", "a.example:8080", "a.example:8080"},
      {"http://a.example/", "evil.example", nullptr},
      {"http://a.example:8080/", "a.example", nullptr},
      {"http://a.example/", "a.example:8080", nullptr},
      {"https://a.example/", "a.example:80", nullptr},
      {"http://xa.example/", "a.example", nullptr},
  };
  for (const auto& row : rows) {
    const Walk result = walk_all("GET "s + row.target + " HTTP/1.1\r\nHost: " + row.host + "\r\n\r\n");
    if (row.authority != nullptr) {
      EXPECT_EQ(result.authorities, std::vector<std::string>{row.authority}) << row.target;
    } else {
      EXPECT_EQ(result.end, Event::refused) << row.target;
      EXPECT_EQ(result.fault, HttpFault::host_mismatch) << row.target;
    }
  }
}

struct Refused {
  const char* why;
  std::string bytes;
  HttpFault fault = HttpFault::malformed;
};

void expect_refused(const std::vector<Refused>& rows) {
  for (const Refused& row : rows) {
    const Walk result = walk_all(row.bytes);
    EXPECT_EQ(result.end, Event::refused) << row.why;
    EXPECT_EQ(result.fault, row.fault) << row.why;
  }
}

TEST(RequestStream, RefusesBrokenRequestLines) {
  const std::string host = "\r\nHost: a.example\r\n\r\n";
  expect_refused({
      {"HTTP/0.9", "GET /\r\n"},
      {"empty line first", "\r\n" + get("a.example")},
      {"two spaces", "GET  / HTTP/1.1" + host},
      {"space behind the version", "GET / HTTP/1.1 " + host},
      {"tab", "GET\t/ HTTP/1.1" + host},
      {"space in the target", "GET /a b HTTP/1.1" + host},
      {"leading space", " GET / HTTP/1.1" + host},
      {"HTTP/1.2", "GET / HTTP/1.2" + host},
      {"HTTP/01.1", "GET / HTTP/01.1" + host},
      {"HTTP/3.0", "GET / HTTP/3.0" + host},
      {"lower case", "GET / http/1.1" + host},
      {"method with a colon", "GE:T / HTTP/1.1" + host},
      {"no method", " / HTTP/1.1" + host},
      {"long method", std::string(33, 'A') + " / HTTP/1.1" + host},
      {"fragment", "GET /#x HTTP/1.1" + host},
      {"byte above ASCII", "GET /\xc3\xbc HTTP/1.1" + host},
      {"NUL", "GET /\0 HTTP/1.1"s + host},
      {"relative target", "GET x HTTP/1.1" + host},
      {"asterisk with GET", "GET * HTTP/1.1" + host},
      {"userinfo", "GET http://a.example@evil.example/ HTTP/1.1" + host},
      {"userinfo of the right host", "GET http://x@a.example/ HTTP/1.1" + host},
      {"other scheme", "GET ftp://a.example/ HTTP/1.1" + host},
      {"no authority", "GET http:///x HTTP/1.1" + host},
      {"backslash", "GET http://a.example\\@evil.example/ HTTP/1.1" + host},
      {"CONNECT without a port", "CONNECT a.example HTTP/1.1" + host},
      {"CONNECT with a path", "CONNECT /x HTTP/1.1" + host},
      {"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HttpFault::h2c},
      {"HTTP/2.0 in a request", "GET / HTTP/2.0" + host, HttpFault::h2c},
  });
}

TEST(RequestStream, RefusesBrokenHosts) {
  const std::string line = "GET / HTTP/1.1\r\n";
  expect_refused({
      {"none", line + "\r\n", HttpFault::host_missing},
      {"none in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", HttpFault::host_missing},
      {"none with an absolute target", "GET http://a.example/ HTTP/1.1\r\n\r\n", HttpFault::host_missing},
      {"empty", get(""), HttpFault::host_missing},
      {"blank", get(" \t"), HttpFault::host_missing},
      {"two", get("a.example", "Host: evil.example\r\n")},
      {"the same twice", get("a.example", "hOST: a.example\r\n")},
      {"two in one", get("a.example, evil.example")},
      {"userinfo", get("a@a.example")},
      {"path", get("a.example/x")},
      {"port 0", get("a.example:0")},
      {"port 65536", get("a.example:65536")},
      {"port with zero in front", get("a.example:080")},
      {"empty port", get("a.example:")},
      {"two ports", get("a.example:80:80")},
      {"IPv6 without brackets", get("2001:db8::1")},
      {"zone", get("[fe80::1%25eth0]")},
      {"IPv4 in brackets", get("[192.0.2.1]")},
      {"brackets left open", get("[2001:db8::1")},
      {"bytes behind the brackets", get("[2001:db8::1]x")},
      {"name in brackets", get("[a.example]")},
      {"short IPv4", get("127.1")},
      {"number", get("2130706433")},
      {"escape", get("a%2eexample")},
      {"not ASCII", get("b\xc3\xbc.example")},
  });
}

TEST(RequestStream, RefusesBrokenFields) {
  expect_refused({
      {"blank before the colon", get("a.example", "X : y\r\n")},
      {"Host with a blank before the colon", "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n"},
      {"continuation", get("a.example", "X: y\r\n z\r\n")},
      {"continuation with a tab", get("a.example", "X: y\r\n\tz\r\n")},
      {"continuation of the request line", "GET / HTTP/1.1\r\n Host: a.example\r\n\r\n"},
      {"no colon", get("a.example", "X\r\n")},
      {"no name", get("a.example", ": y\r\n")},
      {"bare LF behind the request line", "GET / HTTP/1.1\nHost: a.example\r\n\r\n"},
      {"bare LF behind a field", "GET / HTTP/1.1\r\nHost: a.example\n\r\n"},
      {"bare LF at the end", "GET / HTTP/1.1\r\nHost: a.example\r\n\n"},
      {"bare CR", get("a.example", "X: a\rb\r\n")},
      {"two CR", get("a.example", "X: a\r\r\n")},
      {"NUL", get("a.example", "X: a\0b\r\n"s)},
      {"NUL in a name", get("a.example", "X\0: b\r\n"s)},
      {"DEL", get("a.example", "X: a\x7f\r\n")},
      {"escape character", get("a.example", "X: \x1b[2J\r\n")},
      {"byte above ASCII in a name", get("a.example", "X\xff: y\r\n")},
      {"parenthesis in a name", get("a.example", "X(: y\r\n")},
      {"Connection drops Host", get("a.example", "Connection: close, Host\r\n")},
      {"Connection drops the length", post("Connection: Content-Length\r\nContent-Length: 1\r\n", "x")},
      {"Connection drops the coding", post("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", "")},
      {"two Upgrade", get("a.example", "Upgrade: a\r\nUpgrade: b\r\n")},
  });
}

TEST(RequestStream, RefusesWhatCouldBeFramedInTwoWays) {
  const auto with = [](const std::string& fields) { return post(fields, ""); };
  const std::string length = "Content-Length: 5\r\n";
  const std::string coding = "Transfer-Encoding: chunked\r\n";
  expect_refused({
      {"length and coding", with(length + coding)},
      {"coding and length", with(coding + length)},
      {"length 0 and coding", with("Content-Length: 0\r\n" + coding)},
      {"two lengths", with(length + "Content-Length: 6\r\n")},
      {"the same length twice", with(length + length)},
      {"a list of lengths", with("Content-Length: 5, 5\r\n")},
      {"plus", with("Content-Length: +5\r\n")},
      {"minus", with("Content-Length: -5\r\n")},
      {"hexadecimal", with("Content-Length: 0x5\r\n")},
      {"fraction", with("Content-Length: 5.0\r\n")},
      {"blank inside", with("Content-Length: 5 5\r\n")},
      {"zero in front", with("Content-Length: 05\r\n")},
      {"empty length", with("Content-Length:\r\n")},
      {"overflow", with("Content-Length: 18446744073709551621\r\n")},
      {"19 digits", with("Content-Length: 9999999999999999999\r\n")},
      {"blank before the colon", with("Content-Length : 5\r\n")},
      {"coding with a blank before the colon", with("Transfer-Encoding : chunked\r\n")},
      {"two codings", with(coding + coding)},
      {"coding list", with("Transfer-Encoding: chunked, identity\r\n")},
      {"coding list, chunked last", with("Transfer-Encoding: gzip, chunked\r\n")},
      {"identity", with("Transfer-Encoding: identity\r\n")},
      {"xchunked", with("Transfer-Encoding: xchunked\r\n")},
      {"Chunked", with("Transfer-Encoding: Chunked\r\n")},
      {"quoted", with("Transfer-Encoding: \"chunked\"\r\n")},
      {"parameter", with("Transfer-Encoding: chunked;q=1\r\n")},
      {"vertical tab", with("Transfer-Encoding: \x0b"
                            "chunked\r\n")},
      {"empty coding", with("Transfer-Encoding:\r\n")},
      {"continued coding", with("Transfer-Encoding:\r\n chunked\r\n")},
      {"coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a.example\r\n" + coding + "\r\n"},
      {"CONNECT with a body", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n" + length + "\r\n"},
  });
}

TEST(RequestStream, RefusesChunkTricks) {
  const auto chunked = [](const std::string& body) { return post("Transfer-Encoding: chunked\r\n", body); };
  expect_refused({
      {"extension", chunked("5;x=y\r\nhello\r\n0\r\n\r\n")},
      {"empty extension", chunked("5;\r\nhello\r\n0\r\n\r\n")},
      {"blank behind the size", chunked("5 \r\nhello\r\n0\r\n\r\n")},
      {"blank before the size", chunked(" 5\r\nhello\r\n0\r\n\r\n")},
      {"tab", chunked("5\t\r\nhello\r\n")},
      {"0x", chunked("0x5\r\nhello\r\n0\r\n\r\n")},
      {"plus", chunked("+5\r\nhello\r\n")},
      {"minus", chunked("-5\r\nhello\r\n")},
      {"underscore", chunked("1_0\r\n")},
      {"no size", chunked("\r\nhello\r\n")},
      {"nine digits", chunked("000000005\r\nhello\r\n")},
      {"above 2^31", chunked("80000001\r\n")},
      {"overflow", chunked("100000000000000005\r\n")},
      {"bare LF behind the size", chunked("5\nhello\r\n")},
      {"bare CR behind the size", chunked("5\rhello\r\n")},
      {"bare LF behind the data", chunked("5\r\nhello\n0\r\n\r\n")},
      {"no line end behind the data", chunked("5\r\nhello0\r\n\r\n")},
      {"data longer than said", chunked("5\r\nhello!\r\n0\r\n\r\n")},
      {"bare LF at the end", chunked("0\r\n\n")},
      {"bytes instead of the last line", chunked("0\r\nGET / HTTP/1.1\r\n")},
      {"trailer Transfer-Encoding", chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n")},
      {"trailer Content-Length", chunked("0\r\nContent-Length: 5\r\n\r\n")},
      {"trailer Host", chunked("0\r\nhost: evil.example\r\n\r\n")},
      {"continued trailer", chunked("0\r\nX: y\r\n z\r\n\r\n")},
      {"trailer with a bare LF", chunked("0\r\nX: y\n\r\n")},
      {"endless trailers", chunked("0\r\n" + std::string(9000, 'x'))},
  });
}

TEST(RequestStream, TheByteThatOffendsDoesNotPass) {
  const std::string head = post("Transfer-Encoding: chunked\r\n", "");
  EXPECT_EQ(walk_all(head + "5;x\r\nhello").forwarded, head + "5");
  EXPECT_EQ(walk_all(head + "5\r\nhelloX").forwarded, head + "5\r\nhello");
}

TEST(RequestStream, IsBounded) {
  const std::string line = "GET / HTTP/1.1\r\nHost: a.example\r\n";
  const std::string largest = line + "X: " + std::string(RequestStream::kMaxHead - line.size() - 7, 'x') + "\r\n\r\n";
  ASSERT_EQ(largest.size(), RequestStream::kMaxHead);
  EXPECT_EQ(walk_all(largest).authorities.size(), 1u);
  EXPECT_EQ(walk_all(line + "X: " + std::string(RequestStream::kMaxHead, 'x')).end, Event::refused);
  EXPECT_EQ(walk_all(std::string(RequestStream::kMaxHead + 1, 'G')).end, Event::refused);
  std::string fields;
  for (std::size_t i = 0; i < RequestHeadParser::kMaxFields; ++i) fields += "X: y\r\n";
  EXPECT_EQ(walk_all(get("a.example", fields)).end, Event::refused);
  EXPECT_EQ(walk_all(get("a.example", fields.substr(6))).authorities.size(), 1u);
}

TEST(RequestStream, CountsBodiesBeyond32Bits) {
  RequestStream stream;
  const std::string head = post("Content-Length: 5000000000\r\n", "");
  ASSERT_EQ(stream.feed(as_bytes(head)).event, Event::head);
  stream.approve();
  std::vector<std::uint8_t> megabyte(1000000);
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(stream.feed(megabyte).pass, megabyte.size());
  EXPECT_EQ(stream.feed(as_bytes("GET")).pass, 0u) << "the next head";
}

TEST(RequestStream, StopsAtAnUpgrade) {
  const std::string head = get("a.example", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n");
  const Walk result = walk_all(head + "frames");
  EXPECT_EQ(result.end, Event::paused);
  EXPECT_EQ(result.forwarded, head);
  EXPECT_EQ(result.left, "frames");

  RequestStream accepted;
  walk(accepted, head, head.size());
  EXPECT_TRUE(accepted.head().upgrade_requested);
  EXPECT_EQ(accepted.head().upgrade, "websocket");
  accepted.continue_opaque();
  EXPECT_EQ(walk(accepted,
                 "\x81\x85"
                 "frames",
                 3)
                .forwarded,
            "\x81\x85"
            "frames");

  RequestStream declined;
  walk(declined, head, head.size());
  declined.continue_http();
  const Walk next = walk(declined, get("evil.example"), 5);
  EXPECT_EQ(next.authorities, std::vector{"evil.example"s}) << "judged as ever";
}

TEST(RequestStream, AnUpgradeWithABodyStopsBehindIt) {
  const std::string request =
      post("Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n");
  const Walk result = walk_all(request + "more");
  EXPECT_EQ(result.end, Event::paused);
  EXPECT_EQ(result.forwarded, request);
}

TEST(RequestStream, UpgradeNeedsBothFields) {
  for (const char* fields : {"Upgrade: websocket\r\n", "Connection: upgrade\r\n"}) {
    RequestStream stream;
    const std::string bytes = get("a.example", fields);
    const Walk result = walk(stream, bytes, bytes.size());
    EXPECT_EQ(result.end, Event::none) << fields;
    EXPECT_FALSE(stream.head().upgrade_requested) << fields;
  }
}

TEST(RequestStream, ReportsConnect) {
  const struct {
    std::string bytes;
    const char* authority;
  } rows[] = {
      {"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "a.example:443"},
      {"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example:443"},
      {"CONNECT a.example:443 HTTP/1.0\r\n\r\n", "a.example:443"},
      {"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n", "[2001:db8::1]:443"},
  };
  for (const auto& row : rows) {
    RequestStream stream;
    const Walk result = walk(stream, row.bytes + "tunnel", 1000);
    EXPECT_TRUE(stream.head().is_connect);
    EXPECT_EQ(result.authorities, std::vector<std::string>{row.authority});
    EXPECT_EQ(result.end, Event::paused);
    EXPECT_EQ(result.left, "tunnel");
  }
  expect_refused(
      {{"other Host", "CONNECT a.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", HttpFault::host_mismatch},
       {"other port", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", HttpFault::host_mismatch}});
}

TEST(RequestStream, KnowsOneExpectation) {
  EXPECT_EQ(walk_all(post("Expect: 100-Continue\r\nContent-Length: 2\r\n", "ab")).end, Event::none);
  for (const char* bad : {"Expect: y 100-continue\r\n", "Expect:\r\n", "Expect: 100-continue, 100-continue\r\n",
                          "Expect: 100-continue\r\nexpect: 100-continue\r\n"}) {
    EXPECT_EQ(walk_all(post(bad, "")).end, Event::refused) << bad;
  }
}

TEST(RequestStream, ARefusedStreamStaysRefused) {
  RequestStream stream;
  EXPECT_EQ(stream.feed(as_bytes("\r\n")).event, Event::refused);
  const auto step = stream.feed(as_bytes(get("a.example")));
  EXPECT_EQ(step.event, Event::refused);
  EXPECT_EQ(step.consumed, 0u);
}

}  // namespace
}  // namespace weir::wire
