#include "base/json.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(JsonString, EscapesEverythingThatCouldDeceive) {
  EXPECT_EQ(json_string("plain"), "\"plain\"");
  EXPECT_EQ(json_string("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(json_string("line\nbreak\x1b[2J"), "\"line\\u000abreak\\u001b[2J\"");
  EXPECT_EQ(json_string(std::string_view("nul\0in", 6)), "\"nul\\u0000in\"");
  EXPECT_EQ(json_string("\xc3\xbc\xe2\x80\xae"), "\"\\u00fc\\u202e\"");
  EXPECT_EQ(json_string("\xf0\x9f\x98\x80"), "\"\\ud83d\\ude00\"");
  EXPECT_EQ(json_string("\xff\xc0\xaf\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"");
  EXPECT_EQ(json_string("cut \xe2\x82"), "\"cut \\ufffd\\ufffd\"");
}

}  // namespace
}  // namespace weir
