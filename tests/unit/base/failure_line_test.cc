#include "base/failure_line.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(FailureLine, NamesWhatWhyAndRemedy) {
  EXPECT_EQ(failure_line(Error("cannot read p.toml: No such file or directory").with_remedy("check the path")),
            "weir: cannot read p.toml: No such file or directory; check the path\n");
  EXPECT_EQ(failure_line(Error("no")), "weir: no\n");
}

TEST(FailureLine, IsOneLineWhateverTheOperandsContain) {
  EXPECT_EQ(failure_line(Error("bad 'a\nweir: fine\x1b[31m\x7f'")), "weir: bad 'a\\x0aweir: fine\\x1b[31m\\x7f'\n");
}

TEST(Printable, KeepsTextAndEscapesWhatSteers) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"größe €😀", "größe €😀"},
      {"a\xc2\x9b", "a\\xc2\\x9b"},                  // C1 CSI as UTF-8
      {"\x9b", "\\x9b"},                             // C1 CSI as one byte
      {"\xe2\x80\xae", "\\xe2\\x80\\xae"},           // right-to-left override
      {"\xc0\xaf", "\\xc0\\xaf"},                    // overlong
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // above U+10FFFF
      {"\xe2\x82", "\\xe2\\x82"},                    // cut off
      {"", ""},
  };
  for (const auto& [text, expected] : rows) EXPECT_EQ(printable(text), expected);
}

}  // namespace
}  // namespace weir
