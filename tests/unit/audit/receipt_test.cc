#include "audit/receipt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::audit {
namespace {

using testing::HasSubstr;
using testing::Not;

Receipt receipt() {
  Receipt receipt{.sandbox = "w-0123abcd", .name = "n", .command = "sh\x1b[2J\n", .mode = "allowlist"};
  receipt.exit_code = 137;
  receipt.error = "killed: memory limit 512M";
  Event event;
  event.type = EventType::flow_close;
  event.proto = "tcp";
  event.name = "a\n.example";
  event.dst = *net::IpAddress::parse("2001:db8::1");
  event.port = 443;
  event.bytes_up = 5;
  event.bytes_down = 6;
  receipt.tally.add(event);
  event.name = "";
  receipt.tally.add(event);
  return receipt;
}

TEST(Receipt, TextIsEscaped) {
  const std::string text = receipt_text(receipt());
  EXPECT_THAT(text, HasSubstr("command   sh\\x1b[2J\\x0a\n"));
  EXPECT_THAT(text, HasSubstr("exit      137 (killed: memory limit 512M)\n"));
  EXPECT_THAT(text, HasSubstr("tcp a\\x0a.example:443"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(Receipt, SaysThatTheHostsNetworkIsNotRecorded) {
  Receipt host{.sandbox = "w-1", .mode = "host"};
  EXPECT_THAT(receipt_text(host), HasSubstr("nothing was recorded"));
  host.mode = "none";
  EXPECT_THAT(receipt_text(host), HasSubstr("nothing was tried"));
}

TEST(Receipt, DestinationsAreReadBack) {
  const auto read = parse_receipt(receipt_json(receipt()));
  ASSERT_TRUE(read) << read.error().what();
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].text() + (*read)[1].text(), "tcp [2001:db8::1]:443tcp a\n.example:443");
  EXPECT_EQ((*read)[0].bytes_up, 5u);
  EXPECT_EQ((*read)[0].port, 443);
}

TEST(Receipt, RefusesWhatItDidNotWrite) {
  const auto with = [](std::string_view entry) {
    return "{\"receipt\":1,\"destinations\":[" + std::string(entry) + "]}";
  };
  ASSERT_TRUE(parse_receipt(with("")));
  ASSERT_TRUE(parse_receipt(
      with(R"({"proto":"tcp","name":"a.example","addresses":[],"port":1,"flows":1,"bytes_up":0,"bytes_down":0})")));
  const std::string bad[] = {
      "",
      "[]",
      "{}",
      "{\"receipt\":2,\"destinations\":[]}",
      "{\"receipt\":1}",
      with("1"),
      with("{}"),
      with(R"({"proto":"tcp","name":"a","addresses":[],"port":1,"flows":1,"bytes_up":0})"),
      with(R"({"proto":"tcp","name":"a","addresses":["x"],"port":1,"flows":1,"bytes_up":0,"bytes_down":0})"),
      with(R"({"proto":"tcp","name":"a","addresses":[1],"port":1,"flows":1,"bytes_up":0,"bytes_down":0})"),
      with(R"({"proto":"tcp","name":"","addresses":[],"port":1,"flows":1,"bytes_up":0,"bytes_down":0})"),
      with(R"({"proto":"tcp","name":"a","addresses":[],"port":65536,"flows":1,"bytes_up":0,"bytes_down":0})"),
      with(R"({"proto":"tcp","name":"a","addresses":[],"port":1,"flows":-1,"bytes_up":0,"bytes_down":0})"),
      with(R"({"proto":"tcp","name":"a","addresses":[],"more":1,"flows":1,"bytes_up":0,"bytes_down":0})"),
      with(R"({"proto":7,"name":"a","addresses":[],"flows":1,"bytes_up":0,"bytes_down":0})"),
  };
  for (const std::string& text : bad) EXPECT_FALSE(parse_receipt(text)) << text;
}

}  // namespace
}  // namespace weir::audit
