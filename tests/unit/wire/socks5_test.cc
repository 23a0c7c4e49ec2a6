#include "wire/socks5.h"

#include <gtest/gtest.h>

#include <string>

#include "wire_test_bytes.h"

namespace weir::wire::socks5 {
namespace {

using namespace std::string_literals;

Request request(const std::string& bytes) {
  return parse_request(exact_copy(as_bytes(bytes))->bytes());
}

TEST(Socks5, GreetingsAreReadInPieces) {
  const std::string greeting = "\x05\x02\x02\x00"s;
  for (std::size_t length = 0; length < greeting.size(); ++length) {
    EXPECT_EQ(parse_greeting(as_bytes(greeting.substr(0, length))).progress, Progress::need_more) << length;
  }
  const Greeting whole = parse_greeting(as_bytes(greeting + "\x05\x01"));
  EXPECT_EQ(whole.progress, Progress::complete);
  EXPECT_EQ(whole.size, 4u) << "what follows is the request";
  EXPECT_TRUE(whole.without_authentication);
  EXPECT_FALSE(parse_greeting(as_bytes("\x05\x01\x02"s)).without_authentication);
}

TEST(Socks5, WhatIsNoGreetingIsMalformedAtOnce) {
  for (const std::string& bytes : {"\x04"s, "G"s, "\x05\x00"s}) {
    EXPECT_EQ(parse_greeting(as_bytes(bytes)).progress, Progress::malformed);
  }
}

TEST(Socks5, DestinationsAreNamesAndAddresses) {
  struct Row {
    std::string bytes;
    const char* destination;
  };
  const Row rows[] = {
      {"\x05\x01\x00\x03\x09"s + "A.example" + "\x01\xbb"s, "a.example:443"},
      {"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"s, "192.0.2.7:80"},
      {"\x05\x01\x00\x04\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01\x1f\x90"s, "[2001:db8::1]:8080"},
      {"\x05\x01\x00\x03\x09"s + "192.0.2.7" + "\x00\x50"s, "192.0.2.7:80"},
      {"\x05\x01\x00\x03\x0b"s + "2001:db8::1" + "\x00\x50"s, "[2001:db8::1]:80"},
      // The same address, whichever way it is written.
      {"\x05\x01\x00\x04"s + std::string(10, '\0') + "\xff\xff\xc0\x00\x02\x07\x00\x50"s, "192.0.2.7:80"},
  };
  for (const Row& row : rows) {
    const Request whole = request(row.bytes + "more");
    ASSERT_EQ(whole.progress, Progress::complete) << row.destination;
    EXPECT_EQ(whole.size, row.bytes.size());
    EXPECT_EQ(text_of(whole.destination), row.destination);
    for (std::size_t length = 0; length < row.bytes.size(); ++length) {
      EXPECT_EQ(request(row.bytes.substr(0, length)).progress, Progress::need_more) << row.destination;
    }
  }
}

TEST(Socks5, WhatIsNotAskedForIsRefusedWithItsReply) {
  struct Row {
    std::string bytes;
    Reply reply;
  };
  const Row rows[] = {
      {"\x04"s, Reply::general_failure},
      {"\x05\x02\x00\x01\xc0\x00\x02\x07\x00\x50"s, Reply::command_not_supported},
      {"\x05\x03\x00\x01\xc0\x00\x02\x07\x00\x50"s, Reply::command_not_supported},
      {"\x05\x01\x00\x02\xc0\x00\x02\x07\x00\x50"s, Reply::address_type_not_supported},
      {"\x05\x01\x01\x01\xc0\x00\x02\x07\x00\x50"s, Reply::general_failure},
      {"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x00"s, Reply::general_failure},
      {"\x05\x01\x00\x03\x00\x00\x50"s, Reply::general_failure},
      {"\x05\x01\x00\x03\x05"s + "127.1" + "\x00\x50"s, Reply::general_failure},
      {"\x05\x01\x00\x03\x03"s + "a\0b"s + "\x00\x50"s, Reply::general_failure},
      {"\x05\x01\x00\x03\x05"s + "u@a.b" + "\x00\x50"s, Reply::general_failure},
  };
  for (const Row& row : rows) {
    const Request whole = request(row.bytes);
    EXPECT_EQ(whole.progress, Progress::malformed) << testing::PrintToString(row.bytes);
    EXPECT_EQ(whole.refusal, row.reply) << testing::PrintToString(row.bytes);
  }
}

TEST(Socks5, RepliesCarryNoAddress) {
  const auto refused = reply(Reply::not_allowed);
  EXPECT_EQ(as_text(Bytes(refused)), "\x05\x02\x00\x01\0\0\0\0\0\0"s);
}

}  // namespace
}  // namespace weir::wire::socks5
