#include "policy/compiled/name_book.h"

#include <gtest/gtest.h>

#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

constexpr std::uint64_t kMinute = 60'000;

net::IpAddress address(std::uint32_t n) {
  return net::IpAddress::v4(0x5d000000u + n);
}

std::vector<std::string> live(const NameBook& book, const net::IpAddress& at, std::uint64_t now_ms) {
  std::vector<std::string> names;
  for (const NameCandidate& each : book.candidates(at, now_ms)) names.push_back(each.name->text());
  return names;
}

using Texts = std::vector<std::string>;

// policy.md section 10: "allow h.example (TTL 20): connect 5 minutes after the answer: allow".
TEST(NameBook, APairOutlivesAShortTtl) {
  NameBook book;
  book.learn(name("h.example"), {}, address(1), 20, 0);
  EXPECT_EQ(live(book, address(1), 5 * kMinute), Texts{"h.example"});
  const Policy allows = policy(flags("", {"h.example"}));
  const auto candidates = book.candidates(address(1), 5 * kMinute);
  EXPECT_TRUE(admit(*allows.image, {},
                    {.protocol = net::Protocol::tcp, .address = address(1), .port = 443, .names = candidates})
                  .allowed);
}

TEST(NameBook, AnHourAfterTheLastUseAPairExpires) {
  NameBook book;
  book.learn(name("h.example"), {}, address(1), 20, 0);
  EXPECT_EQ(live(book, address(1), NameBook::kLifeMs - 1), Texts{"h.example"});
  EXPECT_EQ(live(book, address(1), NameBook::kLifeMs), Texts{});
  EXPECT_EQ(book.expired(address(1), NameBook::kLifeMs - 1).size(), 0u);
  ASSERT_EQ(book.expired(address(1), NameBook::kLifeMs).size(), 1u);
  EXPECT_EQ(book.expired(address(1), NameBook::kLifeMs)[0].text(), "h.example");
}

TEST(NameBook, UseRenews) {
  NameBook book;
  book.learn(name("h.example"), {}, address(1), 20, 0);
  book.touch(address(1), 50 * kMinute);
  EXPECT_EQ(live(book, address(1), 100 * kMinute), Texts{"h.example"});
  EXPECT_EQ(live(book, address(1), 110 * kMinute), Texts{});
}

TEST(NameBook, UseDoesNotRaiseTheDead) {
  NameBook book;
  book.learn(name("h.example"), {}, address(1), 20, 0);
  book.touch(address(1), 61 * kMinute);
  EXPECT_EQ(live(book, address(1), 61 * kMinute), Texts{});
  book.learn(name("h.example"), {}, address(1), 20, 61 * kMinute);
  EXPECT_EQ(live(book, address(1), 61 * kMinute), Texts{"h.example"});
  EXPECT_EQ(book.pairs(), 1u);
}

TEST(NameBook, ALongTtlCounts) {
  NameBook book;
  book.learn(name("h.example"), {}, address(1), 7200, 0);
  EXPECT_EQ(live(book, address(1), 119 * kMinute), Texts{"h.example"});
  EXPECT_EQ(live(book, address(1), 120 * kMinute), Texts{});
}

TEST(NameBook, ManyNamesAtOneAddressAndAliases) {
  NameBook book;
  const std::vector<net::DomainName> chain = {name("edge.example"), name("cdn.example")};
  book.learn(name("a.example"), chain, address(1), 60, 0);
  book.learn(name("b.example"), {}, address(1), 60, 0);
  book.learn(name("a.example"), {}, address(2), 60, 0);
  EXPECT_EQ(live(book, address(1), 1), (Texts{"a.example", "b.example"}));
  const auto candidates = book.candidates(address(1), 1);
  ASSERT_EQ(candidates[0].aliases.size(), 2u);
  EXPECT_EQ(candidates[0].aliases[1].text(), "cdn.example");
  EXPECT_TRUE(book.candidates(address(2), 1)[0].aliases.empty());
  EXPECT_EQ(book.names(), 2u);
  EXPECT_EQ(book.pairs(), 3u);
  EXPECT_TRUE(book.candidates(address(3), 1).empty());
}

TEST(NameBook, AChainThatDoesNotFitIsNotEntered) {
  NameBook book;
  const std::vector<net::DomainName> chain(NameBook::kMaxAliases + 1, name("x.example"));
  book.learn(name("a.example"), chain, address(1), 60, 0);
  EXPECT_EQ(book.pairs(), 0u);
  book.learn(name("a.example"), std::span(chain).first(NameBook::kMaxAliases), address(1), 60, 0);
  EXPECT_EQ(book.pairs(), 1u);
}

TEST(NameBook, PairsPerNameAreBounded) {
  NameBook book;
  for (std::uint32_t i = 0; i < NameBook::kMaxPairsPerName + 10; ++i) {
    book.learn(name("a.example"), {}, address(i), 60, i);
    if (i > 0) book.touch(address(0), i);
  }
  EXPECT_EQ(book.pairs(), NameBook::kMaxPairsPerName);
  EXPECT_EQ(live(book, address(0), 300), Texts{"a.example"});  // used all the time
  EXPECT_EQ(live(book, address(1), 300), Texts{});             // idle longest
}

TEST(NameBook, NamesAreBoundedAndTheIdlestGoes) {
  NameBook book;
  for (std::uint32_t i = 0; i < NameBook::kMaxNames + 100; ++i) {
    book.learn(name("n" + std::to_string(i) + ".example"), {}, address(i), 60, i);
    book.touch(address(0), i);
  }
  EXPECT_EQ(book.names(), NameBook::kMaxNames);
  EXPECT_EQ(book.pairs(), NameBook::kMaxNames);
  EXPECT_EQ(live(book, address(0), 5000), Texts{"n0.example"});
  EXPECT_EQ(live(book, address(1), 5000), Texts{});
  EXPECT_EQ(live(book, address(NameBook::kMaxNames), 5000).size(), 1u);
}

TEST(NameBook, PairsAreBounded) {
  NameBook book;
  const std::uint32_t per_name = NameBook::kMaxPairsPerName;
  const std::uint32_t count = NameBook::kMaxPairs / per_name + 2;
  for (std::uint32_t n = 0; n < count; ++n) {
    for (std::uint32_t i = 0; i < per_name; ++i) {
      book.learn(name("n" + std::to_string(n) + ".example"), {}, address(n * per_name + i), 60, n);
    }
  }
  EXPECT_EQ(book.pairs(), NameBook::kMaxPairs);
  EXPECT_EQ(book.names(), NameBook::kMaxPairs / per_name);
  EXPECT_EQ(live(book, address(0), 100), Texts{});
}

TEST(NameBook, Moves) {
  NameBook book;
  book.learn(name("a.example"), {}, address(1), 60, 0);
  const NameBook moved = std::move(book);
  EXPECT_EQ(live(moved, address(1), 1), Texts{"a.example"});
}

TEST(NameBook, ForgetsWhatItIsToldTo) {
  NameBook book;
  book.learn(name("a.example"), {}, address(1), 60, 0);
  book.learn(name("a.example"), {}, address(2), 60, 0);
  book.learn(name("b.example"), {}, address(1), 60, 0);
  book.forget_if([](const NameCandidate& each, const net::IpAddress& at) {
    return each.name->text() == "a.example" && at == address(1);
  });
  EXPECT_EQ(live(book, address(1), 1), Texts{"b.example"});
  EXPECT_EQ(live(book, address(2), 1), Texts{"a.example"});
  book.forget_if([](const NameCandidate&, const net::IpAddress&) { return true; });
  EXPECT_EQ(book.names(), 0u);
  EXPECT_EQ(book.pairs(), 0u);
}

}  // namespace
}  // namespace weir::policy::testing
