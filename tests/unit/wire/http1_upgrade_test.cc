#include "wire/http1_upgrade.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "wire/http1.h"

namespace weir::wire {
namespace {

const std::string kAccepted =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";

Look look_at(const std::string& text, std::size_t size) {
  WebSocketReply reply;
  for (std::size_t at = 0; at < text.size(); at += size)
    reply.feed(as_bytes(text).subspan(at, std::min(size, text.size() - at)));
  return reply.look();
}

TEST(WebSocketReply, TakesAWhole101InAnyPieces) {
  for (const std::size_t size : {1u, 2u, 7u, 1000u}) EXPECT_EQ(look_at(kAccepted, size), Look::yes) << size;
  for (std::size_t size = 0; size < kAccepted.size(); ++size) {
    EXPECT_EQ(look_at(kAccepted.substr(0, size), 1000), Look::need_more) << size;
  }
  EXPECT_EQ(look_at(kAccepted + "\x81\x05hello", 3), Look::yes);
}

TEST(WebSocketReply, SkipsInterimAnswers) {
  EXPECT_EQ(look_at("HTTP/1.1 100 Continue\r\n\r\n" + kAccepted, 3), Look::yes);
  EXPECT_EQ(look_at("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + kAccepted, 3), Look::yes);
  // An interim answer's own Upgrade field does not count for the next one.
  EXPECT_EQ(look_at("HTTP/1.1 103 x\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 101 x\r\n\r\n", 3), Look::no);
}

TEST(WebSocketReply, AFloodOfInterimAnswersEndsIt) {
  std::string flood;
  while (flood.size() < WebSocketReply::kMaxBytes) flood += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_EQ(look_at(flood + kAccepted, 100), Look::no);
  EXPECT_EQ(look_at("HTTP/1.1 101 " + std::string(WebSocketReply::kMaxBytes, 'x'), 100), Look::no);
}

TEST(WebSocketReply, AnythingElseIsNo) {
  for (const std::string& no : std::vector<std::string>{
           "HTTP/1.1 200 OK\r\n",
           "HTTP/1.1 2",
           "HTTP/1.0 101 x\r\n",
           "HTTP/1.1 1010\r\n",
           "HTTP/1.1 1\r\n",
           "HTTP/1.1 10x\r\n",
           "x",
           "\r\n",
           "\n",
           "HTTP/1.1 426 Upgrade Required\r\n",
           "HTTP/1.1 101 x\nUpgrade: websocket\n\n",
           "HTTP/1.1 101 x\r\n\r\n",                  // to what?
           "HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n",  // to that
           "HTTP/1.1 101 x\r\nUpgrade: websocket, h2c\r\n\r\n",
           "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
           "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n",
           "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n",
           "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n",
           "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n folded\r\n\r\n",
           "HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n",
           // HTTP in the body of another answer.
           "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + kAccepted,
       }) {
    EXPECT_EQ(look_at(no, 1), Look::no) << no;
    EXPECT_EQ(look_at(no, 1000), Look::no) << no;
  }
}

RequestHead head_of(const std::string& text) {
  RequestStream stream;
  EXPECT_EQ(stream.feed(as_bytes(text)).event, RequestStream::Event::head) << text;
  return stream.head();
}

TEST(AsksForWebSocket, OnlyGetWithThatOneProtocolAndNoBody) {
  const std::string rest = " / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\n";
  EXPECT_TRUE(asks_for_websocket(head_of("GET" + rest + "Upgrade: WebSocket\r\n\r\n")));
  for (const std::string& no : std::vector<std::string>{
           "GET" + rest + "Upgrade: h2c\r\n\r\n", "GET" + rest + "Upgrade: websocket, h2c\r\n\r\n",
           "GET" + rest + "\r\n", "POST" + rest + "Upgrade: websocket\r\n\r\n",
           "GET" + rest + "Upgrade: websocket\r\nContent-Length: 3\r\n\r\n",
           std::string("GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\n"),
           std::string("GET / HTTP/1.0\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")}) {
    EXPECT_FALSE(asks_for_websocket(head_of(no))) << no;
  }
}

}  // namespace
}  // namespace weir::wire
