#include "dial/published_marks.h"

#include <gtest/gtest.h>

namespace weir::dial {
namespace {

net::Endpoint at(const char* text, net::Port port) {
  return {.address = *net::IpAddress::parse(text), .port = port};
}

TEST(PublishedMarks, SayWhatIsPublishedForAsLongAsTheyAreHeld) {
  auto mark = mark_published(net::Protocol::tcp, at("127.0.0.1", 18080));
  ASSERT_TRUE(mark) << mark.error().what();
  EXPECT_TRUE(leads_to_published(net::Protocol::tcp, at("127.0.0.1", 18080)));
  EXPECT_FALSE(leads_to_published(net::Protocol::udp, at("127.0.0.1", 18080)));
  EXPECT_FALSE(leads_to_published(net::Protocol::tcp, at("127.0.0.1", 1808)));
  EXPECT_FALSE(leads_to_published(net::Protocol::tcp, at("127.0.0.2", 18080)));
  EXPECT_FALSE(leads_to_published(net::Protocol::tcp, at("::1", 18080)));
  EXPECT_FALSE(mark_published(net::Protocol::tcp, at("127.0.0.1", 18080))) << "twice";
  mark->reset();
  EXPECT_FALSE(leads_to_published(net::Protocol::tcp, at("127.0.0.1", 18080)));
}

TEST(PublishedMarks, EveryAddressIsEachOfItsFamily) {
  const auto four = mark_published(net::Protocol::tcp, at("0.0.0.0", 18081));
  EXPECT_TRUE(leads_to_published(net::Protocol::tcp, at("10.1.2.3", 18081)));
  EXPECT_FALSE(leads_to_published(net::Protocol::tcp, at("fd00::1", 18081)));
  const auto six = mark_published(net::Protocol::tcp, at("::", 18081));
  EXPECT_TRUE(leads_to_published(net::Protocol::tcp, at("fd00::1", 18081)));
}

}  // namespace
}  // namespace weir::dial
