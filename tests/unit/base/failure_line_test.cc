#include "base/failure_line.h"

#include <gtest/gtest.h>

#include <algorithm>

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

TEST(FailureLine, IsShortWhateverTheOperandsContain) {
  const std::string long_key(5'000'000, 'k');
  const std::string line =
      failure_line(Error("p.toml:2:1: unknown key '" + long_key + "' in [x]").with_remedy("write a"));
  EXPECT_EQ(line.size(), kMaxFailureLine + 1);
  EXPECT_TRUE(line.starts_with("weir: p.toml:2:1: unknown key 'kkk")) << line;
  EXPECT_NE(line.find("kkk...kkk"), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with("k' in [x]; write a\n")) << line;
  const std::string both = failure_line(Error(long_key).with_remedy(long_key));
  EXPECT_EQ(both.size(), kMaxFailureLine + 1);
  EXPECT_EQ(std::ranges::count(both, ';'), 1);
}

TEST(FailureLine, IsCutBetweenCharacters) {
  for (const std::size_t shift : {0u, 1u, 2u, 3u}) {
    std::string text(shift, 'a');
    for (int i = 0; i < 200; ++i) text += "\U0001f600";
    const std::string line = failure_line(Error(text));
    EXPECT_LE(line.size(), kMaxFailureLine + 1);
    EXPECT_GE(line.size(), kMaxFailureLine - 8);
    EXPECT_EQ(printable(line), line.substr(0, line.size() - 1) + "\\x0a");
  }
}

TEST(FailureLine, ALineThatFitsStaysWhole) {
  const std::string text(kMaxFailureLine - 8, 'a');
  EXPECT_EQ(failure_line(Error(text)), "weir: " + text + "\n");
}

TEST(Printable, KeepsTextAndEscapesWhatSteers) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"größe €😀", "größe €😀"},
      {"a\xc2\x9b", "a\\xc2\\x9b"},                  // C1 CSI as UTF-8
      {"\x9b", "\\x9b"},                             // C1 CSI as one byte
      {"\xe2\x80\xae", "\\xe2\\x80\\xae"},           // right-to-left override
      {"\u200e", "\\xe2\\x80\\x8e"},                 // left-to-right mark
      {"\u200f", "\\xe2\\x80\\x8f"},                 // right-to-left mark
      {"\u061c", "\\xd8\\x9c"},                      // Arabic letter mark
      {"\ufeff", "\\xef\\xbb\\xbf"},                 // byte order mark
      {"\u200b", "\\xe2\\x80\\x8b"},                 // zero-width space
      {"\u200c", "\\xe2\\x80\\x8c"},                 // zero-width non-joiner
      {"\u200d", "\\xe2\\x80\\x8d"},                 // zero-width joiner
      {"\u200a\u2010", "\u200a\u2010"},              // their visible neighbours
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
