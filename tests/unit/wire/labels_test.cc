#include "wire/labels.h"

#include <gtest/gtest.h>

namespace weir::wire {
namespace {

TEST(Labels, AreThoseOfTheDescription) {
  EXPECT_TRUE(check_labels({}));
  EXPECT_TRUE(check_labels({{"job", "17"}, {"a.b/c_d-e", ""}, {"0", std::string(kMaxLabelValue, 'x')}}));
  std::string long_text;
  for (std::size_t i = 0; i < kMaxLabelValue; ++i) long_text += "\u00e4";
  EXPECT_TRUE(check_labels({{std::string(kMaxLabelKey, 'k'), long_text}}));
  for (const Labels& wrong : {Labels{{"", "x"}}, Labels{{"a=b", "x"}}, Labels{{".a", "x"}}, Labels{{"a b", "x"}},
                              Labels{{std::string(kMaxLabelKey + 1, 'k'), "x"}}, Labels{{"a", "\n"}},
                              Labels{{"a", "\x7f"}}, Labels{{"a", long_text + "x"}}, Labels{{"a", "1"}, {"a", "2"}}}) {
    EXPECT_FALSE(check_labels(wrong)) << wrong.front().first;
  }
  Labels many;
  for (std::size_t i = 0; i < kMaxLabels; ++i) many.emplace_back("k" + std::to_string(i), "");
  EXPECT_TRUE(check_labels(many));
  many.emplace_back("one-more", "");
  EXPECT_FALSE(check_labels(many));
}

}  // namespace
}  // namespace weir::wire
