#include "control/texts.h"

#include <gtest/gtest.h>

namespace weir::control {
namespace {

TEST(Texts, SurviveTheRoundTrip) {
  for (const std::vector<std::string>& texts : {std::vector<std::string>{},
                                                {""},
                                                {"", "a", ""},
                                                {"sh", "-c", "echo \xff\n"},
                                                {std::string(kMaxOneText - 1, 'x')}}) {
    const auto bytes = encode_texts(texts);
    ASSERT_TRUE(bytes);
    EXPECT_EQ(decode_texts(*bytes), texts);
  }
}

TEST(Texts, NothingShortLongOrWithANul) {
  const auto bytes = encode_texts({"one", "two"});
  ASSERT_TRUE(bytes);
  for (const std::size_t size : {std::size_t{1}, std::size_t{4}, std::size_t{6}, std::size_t{8}, std::size_t{13}})
    EXPECT_FALSE(decode_texts(Bytes(*bytes).first(size))) << size;
  EXPECT_EQ(decode_texts(Bytes(*bytes).first(7)), std::vector<std::string>{"one"});
  EXPECT_FALSE(decode_texts(std::vector<std::uint8_t>{0, 0, 0, 1, 0}));
  EXPECT_FALSE(decode_texts(std::vector<std::uint8_t>{0xff, 0xff, 0xff, 0xff}));
}

TEST(Texts, AreBounded) {
  EXPECT_FALSE(encode_texts({std::string("a\0b", 3)}));
  EXPECT_FALSE(encode_texts({std::string(kMaxOneText, 'x')}));
  const std::string part(kMaxOneText - 4, 'x');
  std::vector<std::string> most(kMaxTexts / kMaxOneText, part);
  const auto bytes = encode_texts(most);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->size(), kMaxTexts);
  most.emplace_back();
  EXPECT_FALSE(encode_texts(most));
  EXPECT_FALSE(decode_texts(std::vector<std::uint8_t>(kMaxTexts + 4)));
}

}  // namespace
}  // namespace weir::control
