#include "cli/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace weir::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

std::string value_of(const Variables& variables, const std::string& name) {
  const auto found = std::ranges::find(variables, name, &Variables::value_type::first);
  return found == variables.end() ? "(absent)" : found->second;
}

Variables environment(const Variables& caller, const std::vector<VariableRequest>& requests,
                      std::vector<std::string>* notices = nullptr) {
  std::vector<std::string> ignored;
  auto result = guest_environment(Caller{.environment = caller, .folder = "/"}, sandbox::User{}, {}, {}, requests,
                                  notices != nullptr ? *notices : ignored);
  EXPECT_TRUE(result) << result.error().what();
  return std::move(*result);
}

TEST(Environment, StartsEmpty) {
  const Variables variables = environment(
      {{"SECRET", "s"}, {"LD_PRELOAD", "x"}, {"PATH", "/evil"}, {"HOME", "/root"}, {"HTTP_PROXY", "p"}}, {});
  EXPECT_THAT(variables,
              ElementsAre(Pair("PATH", HasSubstr("/usr/bin")), Pair("HOME", "/home/sandbox"), Pair("USER", "sandbox"),
                          Pair("LANG", "C.UTF-8"), Pair("TERM", "dumb"), Pair("WEIR", "1")));
  EXPECT_THAT(value_of(variables, "PATH"), Not(HasSubstr("evil")));
}

TEST(Environment, AnnouncesTheProxiesInBothSpellings) {
  std::vector<std::string> notices;
  const auto result = guest_environment(Caller{.environment = {}, .folder = "/"}, {},
                                        proxy_variables(net::IpAddress::v4({10, 0, 0, 1})),
                                        {"HTTP_PROXY=http://image.example"}, {{"no_proxy", "mine"}}, notices);
  ASSERT_TRUE(result);
  EXPECT_EQ(value_of(*result, "http_proxy"), "http://10.0.0.1:3128");
  EXPECT_EQ(value_of(*result, "https_proxy"), "http://10.0.0.1:3128");
  EXPECT_EQ(value_of(*result, "HTTPS_PROXY"), "http://10.0.0.1:3128");
  EXPECT_EQ(value_of(*result, "all_proxy"), "socks5h://10.0.0.1:1080");
  EXPECT_EQ(value_of(*result, "ALL_PROXY"), "socks5h://10.0.0.1:1080");
  EXPECT_EQ(value_of(*result, "NO_PROXY"), "localhost,127.0.0.1,::1");
  EXPECT_EQ(value_of(*result, "no_proxy"), "mine");
  EXPECT_EQ(value_of(*result, "NODE_USE_ENV_PROXY"), "1");
  EXPECT_EQ(value_of(*result, "HTTP_PROXY"), "http://image.example") << "what the image sets wins, as for the others";
}

TEST(Environment, LangAndTermComeFromTheCallerIfTheyArePlain) {
  Variables variables = environment({{"LANG", "de_DE.UTF-8@euro"}, {"TERM", "xterm-256color"}}, {});
  EXPECT_EQ(value_of(variables, "LANG"), "de_DE.UTF-8@euro");
  EXPECT_EQ(value_of(variables, "TERM"), "xterm-256color");
  variables = environment({{"LANG", "../../x"}, {"TERM", "\x1b[31m"}}, {});
  EXPECT_EQ(value_of(variables, "LANG"), "C.UTF-8");
  EXPECT_EQ(value_of(variables, "TERM"), "dumb");
}

TEST(Environment, RequestsCopySetAndReplace) {
  std::vector<std::string> notices;
  const Variables variables =
      environment({{"CI", "true"}, {"EMPTY", ""}},
                  {{"CI", {}}, {"EMPTY", {}}, {"A", "1"}, {"A", "2"}, {"PATH", "/x"}, {"GONE", {}}}, &notices);
  EXPECT_EQ(value_of(variables, "CI"), "true");
  EXPECT_EQ(value_of(variables, "EMPTY"), "");
  EXPECT_EQ(value_of(variables, "A"), "2");
  EXPECT_EQ(value_of(variables, "PATH"), "/x");
  EXPECT_EQ(value_of(variables, "GONE"), "(absent)");
  EXPECT_THAT(notices, ElementsAre(HasSubstr("GONE is not set here")));
  EXPECT_EQ(std::ranges::count(variables, "A", &Variables::value_type::first), 1);
}

TEST(Environment, ParsesNamesStrictly) {
  const auto request = parse_variable("A_1=b=c ");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->name, "A_1");
  EXPECT_EQ(request->value, "b=c ");
  EXPECT_EQ(parse_variable("A=")->value, "");
  EXPECT_EQ(parse_variable("A")->value, std::nullopt);
  for (const std::string bad : {"", "=", "=x", "1A=x", "A B=x", "A-B", "é=1", " A=1", "A\n=1"}) {
    EXPECT_FALSE(parse_variable(bad)) << bad;
  }
  EXPECT_FALSE(parse_variable(std::string_view("A=x\0y", 5)));
}

TEST(Environment, ReadsFiles) {
  const auto requests = parse_env_file("# comment\n\nA=1\r\n  B=two words # kept\nCI\nE='q'", "f.env");
  ASSERT_TRUE(requests);
  ASSERT_EQ(requests->size(), 4u);
  EXPECT_EQ((*requests)[0].value, "1");
  EXPECT_EQ((*requests)[1].value, "two words # kept");
  EXPECT_EQ((*requests)[2].value, std::nullopt);
  EXPECT_EQ((*requests)[3].value, "'q'");
  EXPECT_THAT(*parse_env_file("", "f.env"), IsEmpty());
}

TEST(Environment, FileErrorsNameTheLine) {
  const auto requests = parse_env_file("A=1\n\nexport B=2\n", "f.env");
  ASSERT_FALSE(requests);
  EXPECT_EQ(requests.error().what(), "f.env:3: 'export B' is no name of an environment variable");
}

TEST(Environment, RefusesWhatExecWouldRefuse) {
  std::vector<std::string> notices;
  const Caller caller;
  const std::string largest(kMaxVariableBytes - 2, 'x');
  EXPECT_TRUE(guest_environment(caller, {}, {}, {}, {{"A", largest}}, notices));
  EXPECT_THAT(guest_environment(caller, {}, {}, {}, {{"A", largest + "x"}}, notices).error().what(),
              HasSubstr("environment variable A"));
  std::vector<VariableRequest> many;
  for (int i = 0; i < 9; ++i) many.push_back({"A" + std::to_string(i), std::string(kMaxVariableBytes - 3, 'x')});
  EXPECT_THAT(guest_environment(caller, {}, {}, {}, many, notices).error().what(),
              HasSubstr("the environment is larger"));
}

TEST(GuestEnvironment, AnImageComesBeforeWhatWasAsked) {
  std::vector<std::string> notices;
  const auto variables =
      guest_environment(Caller{.environment = {}, .folder = "/"}, {}, {},
                        {"PATH=/image", "A=image", "B=image", "WEIR=0", "no variable"}, {{"A", "asked"}}, notices);
  ASSERT_TRUE(variables);
  const auto value = [&](std::string_view name) {
    for (const auto& [known, text] : *variables) {
      if (known == name) return text;
    }
    return std::string("(none)");
  };
  EXPECT_EQ(value("PATH"), "/image");
  EXPECT_EQ(value("A"), "asked");
  EXPECT_EQ(value("B"), "image");
  EXPECT_EQ(value("WEIR"), "1");
  EXPECT_EQ(notices.size(), 1u);
}

}  // namespace
}  // namespace weir::cli
