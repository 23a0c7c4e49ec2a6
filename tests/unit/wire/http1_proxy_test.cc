// What the HTTP proxy sends on: heads of requests and responses, and where a response ends.
#include <gtest/gtest.h>

#include <string>

#include "wire/http1.h"
#include "wire/http1_forward.h"
#include "wire/http1_response.h"
#include "wire_test_bytes.h"

namespace weir::wire {
namespace {

using Event = ResponseStream::Event;

std::string forwarded(std::string_view request) {
  RequestStream stream;
  const auto step = stream.feed(as_bytes(request));
  if (step.event != RequestStream::Event::head) return "(no head)";
  const RequestHead head = stream.head();
  return forward_request(as_text(stream.approve()), head);
}

TEST(ForwardRequest, GoesOnInOriginFormWithTheJudgedHost) {
  EXPECT_EQ(forwarded("GET http://A.example/p?q=1 HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n"),
            "GET /p?q=1 HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n");
  EXPECT_EQ(forwarded("GET http://a.example:80 HTTP/1.0\r\nX:  1 \r\nHost: a.example\r\n\r\n"),
            "GET / HTTP/1.0\r\nHost: a.example\r\nX: 1\r\n\r\n");
  EXPECT_EQ(forwarded("GET http://a.example:81?q HTTP/1.1\r\nHost: a.example:81\r\n\r\n"),
            "GET /?q HTTP/1.1\r\nHost: a.example:81\r\n\r\n");
  EXPECT_EQ(forwarded("OPTIONS http://[2001:db8::1] HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n"),
            "OPTIONS * HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n");
  EXPECT_EQ(forwarded("GET http://a.example//b:c@d HTTP/1.1\r\nHost: a.example\r\n\r\n"),
            "GET //b:c@d HTTP/1.1\r\nHost: a.example\r\n\r\n");
}

TEST(ForwardRequest, LeavesOutWhatConcernsTheConnection) {
  EXPECT_EQ(forwarded("POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: Basic x\r\n"
                      "PROXY-X: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nConnection: close, Secret\r\nsecret: 1\r\n"
                      "Upgrade: h2c\r\nHTTP2-Settings: x\r\nContent-Length: 2\r\n\r\nhi"),
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(forwarded("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: Content-Length\r\n\r\n"),
            "(no head)");
}

struct Heard {
  std::string heads;
  std::string body;
  Event end = Event::none;
  std::size_t consumed = 0;
  bool whole_at_close = false;

  bool operator==(const Heard&) const = default;
};

Heard hear_in_pieces(std::string_view bytes, std::string_view method, std::size_t size) {
  ResponseStream stream(method);
  Heard heard;
  for (;;) {
    const auto exact = exact_copy(as_bytes(bytes.substr(0, size)));
    const auto step = stream.feed(exact->bytes());
    heard.body += bytes.substr(0, step.pass);
    bytes.remove_prefix(step.consumed);
    heard.consumed += step.consumed;
    heard.end = step.event;
    if (step.event == Event::head) {
      heard.heads += forward_response(stream.raw_head(), Persistence::keep);
    } else if (step.event != Event::none || bytes.empty()) {
      break;
    }
  }
  heard.whole_at_close = stream.whole_at_close();
  return heard;
}

Heard hear(std::string_view bytes, std::string_view method = "GET") {
  const Heard whole = hear_in_pieces(bytes, method, bytes.size() + 1);
  EXPECT_EQ(hear_in_pieces(bytes, method, 1), whole);
  EXPECT_EQ(hear_in_pieces(bytes, method, 5), whole);
  return whole;
}

TEST(ResponseStream, KnowsWhereAResponseEnds) {
  const std::string_view counted = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  Heard heard = hear(std::string(counted) + "HTTP/1.1 200 OK\r\n");
  EXPECT_EQ(heard.end, Event::end);
  EXPECT_EQ(heard.consumed, counted.size());
  EXPECT_EQ(heard.body, "hello");
  EXPECT_EQ(hear("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n").end,
            Event::end);
  EXPECT_EQ(hear("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", "HEAD").end, Event::end);
  EXPECT_EQ(hear("HTTP/1.1 204 \r\n\r\n").end, Event::end);
  EXPECT_EQ(hear("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").end, Event::end);
  heard = hear("HTTP/1.0 200 OK\r\n\r\nhello");
  EXPECT_EQ(heard.end, Event::none);
  EXPECT_TRUE(heard.whole_at_close);
  EXPECT_FALSE(hear("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello").whole_at_close);
  EXPECT_FALSE(hear("HTTP/1.1 200 OK\r\nX").whole_at_close);
}

TEST(ResponseStream, InterimResponsesAreBounded) {
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  std::string bytes;
  for (unsigned i = 0; i < ResponseStream::kMaxInterim; ++i) bytes += interim;
  EXPECT_EQ(hear(bytes + "HTTP/1.1 204 x\r\n\r\n").end, Event::end);
  EXPECT_EQ(hear(bytes + interim).end, Event::refused);
}

TEST(ResponseStream, WhatTwoReceiversFrameDifferentlyIsRefused) {
  for (const std::string_view bytes :
       {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\n\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: transfer-encoding\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 999 x\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n"}) {
    EXPECT_EQ(hear(bytes).end, Event::refused) << bytes;
  }
}

TEST(ResponseStream, HeadsAreBounded) {
  const std::string line = "HTTP/1.1 200 OK\r\n";
  EXPECT_EQ(hear(line + "X: " + std::string(ResponseStream::kMaxHead, 'y')).end, Event::refused);
  std::string many = line;
  for (std::size_t i = 0; i <= ResponseStream::kMaxFields; ++i) many += "X: y\r\n";
  EXPECT_EQ(hear(many).end, Event::refused);
}

TEST(ForwardResponse, SaysWhatBecomesOfTheConnection) {
  const std::string_view raw =
      "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nX: 2\r\n\r\n";
  EXPECT_EQ(forward_response(raw, Persistence::keep), "HTTP/1.1 200 OK\r\nX: 2\r\n\r\n");
  EXPECT_EQ(forward_response(raw, Persistence::close), "HTTP/1.1 200 OK\r\nX: 2\r\nConnection: close\r\n\r\n");
}

}  // namespace
}  // namespace weir::wire
