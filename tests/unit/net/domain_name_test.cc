#include "net/domain_name.h"

#include <gtest/gtest.h>

namespace weir::net {
namespace {

TEST(DomainName, HasOneCanonicalForm) {
  EXPECT_EQ(DomainName::parse("Example.COM.")->text(), "example.com");
  EXPECT_EQ(*DomainName::parse("a.example"), *DomainName::parse("A.EXAMPLE."));
  EXPECT_EQ(DomainName::parse("_dmarc.xn--bcher-kva.example")->text(), "_dmarc.xn--bcher-kva.example");
}

TEST(DomainName, RefusesWhatIsNoName) {
  using namespace std::string_view_literals;
  const std::string long_label(64, 'a');
  const std::string long_name =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(62, 'd');
  for (const std::string_view text : {""sv,
                                      "."sv,
                                      ".."sv,
                                      "a..b"sv,
                                      ".a"sv,
                                      "a.."sv,
                                      "a b"sv,
                                      "a\0b"sv,
                                      "evil.test\0.allowed.test"sv,
                                      "a%2eb"sv,
                                      "a@b"sv,
                                      "a/b"sv,
                                      "[a]"sv,
                                      "127.1"sv,
                                      "0x7f.1"sv,
                                      "2130706433"sv,
                                      "0x7f000001"sv,
                                      "a.0x"sv,
                                      "1.2.3.4"sv,
                                      "a:b"sv,
                                      "b\xc3\xbc"
                                      "cher.example"sv,
                                      "*.example.com"sv,
                                      std::string_view(long_label),
                                      std::string_view(long_name)}) {
    EXPECT_FALSE(DomainName::parse(text).has_value()) << text;
  }
  EXPECT_TRUE(DomainName::parse(long_name.substr(1)).has_value());
}

TEST(DomainName, ComparesWholeLabels) {
  const auto name = *DomainName::parse("a.example.com");
  EXPECT_TRUE(name.is_below("example.com"));
  EXPECT_TRUE(name.is_at_or_below("a.example.com"));
  EXPECT_FALSE(name.is_below("a.example.com"));
  EXPECT_FALSE(DomainName::parse("xexample.com")->is_below("example.com"));
  EXPECT_FALSE(DomainName::parse("example.com.evil.test")->is_below("example.com"));
}

}  // namespace
}  // namespace weir::net
