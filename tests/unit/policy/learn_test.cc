#include "policy/text/learn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/text/policy_file.h"

namespace weir::policy {
namespace {

using testing::HasSubstr;
using testing::Not;

UsedDestination used(std::string proto, std::string name, const char* address, std::optional<net::Port> port) {
  return {.proto = std::move(proto),
          .name = std::move(name),
          .addresses = {*net::IpAddress::parse(address)},
          .port = port,
          .flows = 2,
          .bytes_up = 10,
          .bytes_down = 1};
}

std::vector<std::string> allowed(const LearnedPolicy& learned) {
  const auto parsed = parse_policy(learned.text, "learned.toml");
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().what()) << learned.text;
  std::vector<std::string> targets;
  if (!parsed || !parsed->allow) return targets;
  for (const WrittenTarget& target : *parsed->allow) targets.push_back(target.text);
  EXPECT_EQ(targets.size(), learned.entries);
  return targets;
}

TEST(Learn, NamesWithTheirPorts) {
  const UsedDestination all[] = {
      used("tcp", "b.example", "93.184.216.10", 443),
      used("tcp", "B.example.", "93.184.216.11", 80),
      used("tcp", "a.example", "93.184.216.10", 443),
      used("udp", "ntp.example", "93.184.216.12", 123),
      used("icmp", "", "93.184.216.13", std::nullopt),
      used("tcp", "", "2606:2800:220::10", 22),
      used("udp", "", "93.184.216.14", 53),
  };
  const LearnedPolicy learned = learn_policy(all, {}, 0);
  EXPECT_THAT(allowed(learned), testing::UnorderedElementsAre(
                                    "a.example:443", "b.example:80,443", "udp://ntp.example:123",
                                    "icmp://93.184.216.13", "tcp://[2606:2800:220::10]:22", "udp://93.184.216.14:53"));
  EXPECT_THAT(learned.text, HasSubstr("\"b.example:80,443\",  # 4 flows, 20 bytes up, 2 bytes down"));
  EXPECT_THAT(learned.text, HasSubstr("an address without a name"));
  EXPECT_EQ(learned.left_out, 0u);
}

TEST(Learn, NothingUsedIsModeNone) {
  const std::vector<std::string> asked = {"asked.example"};
  const LearnedPolicy learned = learn_policy({}, asked, 3);
  EXPECT_TRUE(allowed(learned).empty());
  EXPECT_THAT(learned.text, HasSubstr("mode    = \"none\""));
  EXPECT_THAT(learned.text, HasSubstr("#   asked.example\n"));
  EXPECT_THAT(learned.text, HasSubstr("3 attempts not told apart"));
}

TEST(Learn, ASetStandsForSeveralOfItsNamesWithTheSamePorts) {
  const UsedDestination both[] = {used("tcp", "pypi.org", "151.101.0.223", 443),
                                  used("tcp", "files.pythonhosted.org", "151.101.0.223", 443)};
  EXPECT_THAT(allowed(learn_policy(both, {}, 0)), testing::ElementsAre("@pypi:443"));
  const UsedDestination one[] = {both[0]};
  EXPECT_THAT(allowed(learn_policy(one, {}, 0)), testing::ElementsAre("pypi.org:443"));
  const UsedDestination apart[] = {both[0], used("tcp", "files.pythonhosted.org", "151.101.0.223", 80)};
  EXPECT_THAT(allowed(learn_policy(apart, {}, 0)),
              testing::UnorderedElementsAre("pypi.org:443", "files.pythonhosted.org:80"));
}

TEST(Learn, ASetWhereDataCanBeReceivedStandsForNothing) {
  const UsedDestination both[] = {used("tcp", "github.com", "140.82.112.3", 443),
                                  used("tcp", "api.github.com", "140.82.112.4", 443)};
  const LearnedPolicy learned = learn_policy(both, {}, 0);
  EXPECT_THAT(allowed(learned), testing::UnorderedElementsAre("github.com:443", "api.github.com:443"));
  EXPECT_THAT(learned.text, HasSubstr("where anyone with an account can receive data"));
}

TEST(Learn, ANameThatLeadsToAnAddressThatIsNotPublicNeedsTheAddress) {
  const UsedDestination all[] = {used("tcp", "db.corp.example", "10.1.2.3", 5432),
                                 used("tcp", "host.weir.internal", "127.0.0.1", 8080)};
  const LearnedPolicy learned = learn_policy(all, {}, 0);
  EXPECT_THAT(allowed(learned),
              testing::UnorderedElementsAre("db.corp.example:5432", "tcp://10.1.2.3:5432", "host.weir.internal:8080"));
  EXPECT_THAT(learned.text, HasSubstr("not public; db.corp.example leads there"));
}

TEST(Learn, WhatIsNoNameStandsNowhere) {
  const char* const names[] = {
      "a\"]\nallow = [\"0.0.0.0/0", "a\n#x.example", "*.example", "@public",        "0x7f.1", "a b", "\x1b[2J.example",
      "\xe2\x80\xae.example",       "a,b",           "a:1",       "udp://a.example"};
  for (const char* name : names) {
    const UsedDestination all[] = {used("tcp", name, "93.184.216.10", 443),
                                   used("tcp", "good.example", "93.184.216.10", 443)};
    const std::vector<std::string> asked = {name};
    const LearnedPolicy learned = learn_policy(all, asked, 0);
    EXPECT_THAT(allowed(learned), testing::ElementsAre("good.example:443")) << name;
    EXPECT_EQ(learned.left_out, 1u) << name;
    for (const char c : learned.text) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << name;
    EXPECT_THAT(learned.text, Not(HasSubstr("0.0.0.0")));
  }
}

TEST(Learn, TheHardFloorIsNeverLearned) {
  const UsedDestination all[] = {
      used("tcp", "", "169.254.169.254", 80), used("tcp", "m.example", "169.254.169.254", 80),
      used("gre", "", "93.184.216.10", std::nullopt), used("tcp", "", "93.184.216.10", std::nullopt)};
  const LearnedPolicy learned = learn_policy(all, {}, 0);
  EXPECT_THAT(allowed(learned), testing::ElementsAre("m.example:80"));
  EXPECT_EQ(learned.left_out, 4u);
}

TEST(Learn, EqualUseGivesEqualText) {
  const UsedDestination first[] = {used("tcp", "a.example", "93.184.216.10", 443),
                                   used("tcp", "b.example", "93.184.216.10", 443)};
  const UsedDestination second[] = {first[1], first[0]};
  EXPECT_EQ(learn_policy(first, {}, 0).text, learn_policy(second, {}, 0).text);
}

}  // namespace
}  // namespace weir::policy
