#include "image/description.h"

#include <gtest/gtest.h>

#include "image/store.h"
#include "sys/id_maps.h"

namespace weir::image {
namespace {

Description sample() {
  Description made;
  made.name = "n";
  made.format = "tar";
  made.owners = Owners::all;
  made.tally.entries = 5;
  made.tally.set_id_bits = 2;
  made.env = {"A=1", "B="};
  made.command = {"sh", ""};
  made.ids = "root";
  return made;
}

TEST(Description, RoundTrip) {
  const auto again = decode_description(encode(sample()));
  ASSERT_TRUE(again) << again.error().what();
  EXPECT_EQ(encode(*again), encode(sample()));
  EXPECT_EQ(again->command, sample().command);
  EXPECT_EQ(again->tally.set_id_bits, 2u);
}

TEST(Description, DamageIsRefused) {
  const std::string text = encode(sample());
  ASSERT_TRUE(decode_description(text));
  for (std::size_t size = 0; size < text.size(); ++size) {
    const auto decoded = decode_description(text.substr(0, size));
    // Only whole fields at the end may be missing unnoticed: those of the lists.
    if (decoded) EXPECT_GE(size, text.find("env"));
  }
  EXPECT_FALSE(decode_description(text + "no such key" + '\0' + "x" + '\0'));
  EXPECT_FALSE(decode_description(std::string("owners\0some\0", 12)));
}

TEST(Description, RemarksSayWhatIsLeftOut) {
  EXPECT_TRUE(remarks(Description{}).empty());
  EXPECT_EQ(remarks(sample()).size(), 1u);
}

TEST(Store, Names) {
  for (const char* name : {"a", "debian:12", "A.b-c_d", "0"}) EXPECT_TRUE(is_image_name(name)) << name;
  for (const char* name : {"", ".new-1", "..", "a/b", "-x", "a b", "\xc3\xa4"})
    EXPECT_FALSE(is_image_name(name)) << name;
  EXPECT_FALSE(is_image_name(std::string(64, 'a')));
}

TEST(IdMaps, SubordinateIds) {
  const std::string passwd = "root:x:0:0::/:\nme:x:1001:1001::/:\n";
  const auto find = [&](const char* table) { return sys::subordinate_ids(table, passwd, 1001, 65536); };
  EXPECT_EQ(find("other:1:65536\nme:100000:65536\n"), 100000u);
  EXPECT_EQ(find("1001:200000:65537\n"), 200000u);
  EXPECT_EQ(find("me:5:100\nme:300000:65536\n"), 300000u);
  for (const char* table : {"", "me:100000:65535\n", "meme:1:65536\n", "me:0:65536\n", "me:x:65536\n", "me:-1:65536\n",
                            "me:4294967000:65536\n", "me\n"}) {
    EXPECT_EQ(find(table), std::nullopt) << table;
  }
}

}  // namespace
}  // namespace weir::image
