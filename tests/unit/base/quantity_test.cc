#include "base/quantity.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Duration, ReadsEveryForm) {
  const std::pair<const char*, std::uint64_t> rows[] = {
      {"10s", 10'000},    {"1m30s", 90'000},  {"500ms", 500},
      {"90", 90'000},     {"0", 0},           {"2h", 7'200'000},
      {"1d", 86'400'000}, {"1s500ms", 1'500}, {"1d2h3m4s5ms", 93'784'005},
      {"0s", 0},          {"007s", 7'000},    {"36500d", 3'153'600'000'000},
  };
  for (const auto& [text, expected] : rows) {
    const auto value = parse_duration_ms(text);
    ASSERT_TRUE(value) << text << ": " << value.error().what();
    EXPECT_EQ(*value, expected) << text;
  }
}

TEST(Duration, RefusesEverythingElse) {
  for (const char* text : {"",
                           "s",
                           "-1",
                           "+1",
                           "1.5s",
                           "1 s",
                           " 1s",
                           "1s ",
                           "10x",
                           "1s1m",
                           "1s1s",
                           "1m30",
                           "10S",
                           "1us",
                           "36501d",
                           "99999999999999999999",
                           "18446744073709551615d",
                           "1h-1m",
                           "0x10",
                           "1e3"}) {
    const auto value = parse_duration_ms(text);
    EXPECT_FALSE(value) << text;
  }
}

TEST(Duration, TextParsesBack) {
  for (std::uint64_t value : {0ULL, 1ULL, 999ULL, 1'000ULL, 90'000ULL, 3'600'000ULL, 93'784'005ULL}) {
    EXPECT_EQ(parse_duration_ms(duration_text(value)).value(), value) << duration_text(value);
  }
  EXPECT_EQ(size_text(512ull << 20), "512M");
  EXPECT_EQ(size_text(1ull << 50), "1024T");
  EXPECT_EQ(size_text(1536), "1536");
  EXPECT_EQ(size_text(0), "0");
  for (const std::uint64_t bytes : {1ull, 1024ull, 1000ull, 3ull << 30}) {
    EXPECT_EQ(parse_size_bytes(size_text(bytes)).value(), bytes);
  }
  EXPECT_EQ(duration_text(90'000), "1m30s");
}

TEST(Size, ReadsEveryForm) {
  const std::pair<const char*, std::uint64_t> rows[] = {
      {"0", 0},
      {"1000", 1000},
      {"1000B", 1000},
      {"1K", 1024},
      {"1k", 1024},
      {"1KiB", 1024},
      {"1kB", 1000},
      {"512M", 536'870'912},
      {"512MiB", 536'870'912},
      {"200MB", 200'000'000},
      {"1G", 1'073'741'824},
      {"1GB", 1'000'000'000},
      {"2t", 2'199'023'255'552},
      {"18446744073709551615", 18'446'744'073'709'551'615ULL},
  };
  for (const auto& [text, expected] : rows) {
    const auto value = parse_size_bytes(text);
    ASSERT_TRUE(value) << text << ": " << value.error().what();
    EXPECT_EQ(*value, expected) << text;
  }
}

TEST(Size, RefusesEverythingElse) {
  for (const char* text : {"", "M", "-1", "1.5G", "1 G", "1X", "1MBB", "1MB1", "16777216T", "18446744073709551616"}) {
    EXPECT_FALSE(parse_size_bytes(text)) << text;
  }
}

TEST(Size, AnErrorSaysWhatWouldBeRight) {
  EXPECT_NE(parse_size_bytes("lots").error().remedy().find("512M"), std::string::npos);
  EXPECT_NE(parse_duration_ms("soon").error().remedy().find("1m30s"), std::string::npos);
}

}  // namespace
}  // namespace weir
