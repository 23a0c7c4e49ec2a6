#include "daemon/token_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace weir::daemon {
namespace {

const std::string kA = "0123456789abcdef0123456789abcdef";
const std::string kB = "fedcba9876543210fedcba9876543210";

TEST(Tokens, AreFoundByTheirWhole) {
  const auto tokens = Tokens::parse("# people\n\nalice:" + kA + "\nbob:" + kB + ":ro\n");
  ASSERT_TRUE(tokens) << tokens.error().what();
  EXPECT_EQ(tokens->find(kA).name, "alice");
  EXPECT_EQ(tokens->find(kA).rights, Principal::Rights::change);
  EXPECT_EQ(tokens->find(kB).name, "bob");
  EXPECT_EQ(tokens->find(kB).rights, Principal::Rights::look);
  EXPECT_FALSE(tokens->find(kA).is_owner());
  for (const std::string& other : {std::string(), kA.substr(1), kA + "0", kA.substr(0, 31) + "e", "alice:" + kA}) {
    EXPECT_EQ(tokens->find(other).kind, Principal::Kind::nobody) << other;
  }
}

TEST(Tokens, WhatIsNoneIsSaidByItsLineAndNotByItsText) {
  for (const std::string& text :
       {std::string(), std::string("# nobody\n"), "alice:" + kA + "\nalice:" + kB, "a:" + kA + "\nb:" + kA, ":" + kA,
        "a b:" + kA, std::string("a:short"), "a:" + kA + " ", "a:" + kA + ":rw", "a:" + kA + "\r\n", kA,
        "a:" + std::string(600, 'x')}) {
    const auto tokens = Tokens::parse(text);
    ASSERT_FALSE(tokens) << text;
    EXPECT_TRUE(tokens.error().what().starts_with("line ")) << text;
    EXPECT_EQ(tokens.error().what().find(kA), std::string::npos);
    EXPECT_FALSE(tokens.error().remedy().empty());
  }
}

TEST(Tokens, AFileThatOthersMayReadIsRefused) {
  std::string path = "/tmp/weir-tokens-XXXXXX";
  ::close(::mkstemp(path.data()));
  std::ofstream(path) << "alice:" << kA << "\n";
  EXPECT_TRUE(read_token_file(path));
  for (const unsigned mode : {0640u, 0604u, 0620u, 0602u, 0644u}) {
    ::chmod(path.c_str(), mode);
    const auto refused = read_token_file(path);
    ASSERT_FALSE(refused) << mode;
    EXPECT_NE(refused.error().remedy().find("chmod 600"), std::string::npos);
  }
  ::unlink(path.c_str());
  EXPECT_FALSE(read_token_file(path));
}

TEST(Tokens, TheHeader) {
  EXPECT_EQ(bearer_token("Bearer abc"), "abc");
  EXPECT_EQ(bearer_token("bearer  abc"), "abc");
  for (const char* header : {"", "Bearer", "Bearer ", "Basic abc", "Bearerabc", "xBearer abc"}) {
    EXPECT_EQ(bearer_token(header), "") << header;
  }
}

}  // namespace
}  // namespace weir::daemon
