#include "wire/layer_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::wire {
namespace {

using Type = LayerEntry::Type;
using testing::HasSubstr;

const std::string kDigest(64, 'a');
const std::string kHead = "weir-layer 1\n";

std::string file(const std::string& path) {
  return "f 644 0 0 7 3 " + kDigest + " " + path + "\n";
}

TEST(LayerManifest, ReadsWhatItWrites) {
  const std::vector<LayerEntry> entries = {
      {.type = Type::folder, .path = "a b", .mode = 01777, .uid = 1000, .gid = 65535},
      {.type = Type::file,
       .path = "a b/%\n\xff",
       .mode = 0644,
       .uid = 1,
       .gid = 2,
       .mtime = 3,
       .size = 4,
       .digest = kDigest},
      {.type = Type::hard_link, .path = "a b/hard", .link = "a b/%\n\xff"},
      {.type = Type::symbolic_link, .path = "a b/soft", .link = "../../etc/ passwd", .uid = 5, .gid = 6},
      {.type = Type::whiteout, .path = "a.b"},
      {.type = Type::opaque_folder, .path = "z", .mode = 0700}};
  std::string text(kLayerManifestHead);
  for (const LayerEntry& entry : entries) text += layer_line(entry);
  EXPECT_THAT(text, HasSubstr("f 644 1 2 3 4 " + kDigest + " a%20b/%25%0A%FF\n"));
  const auto read = parse_layer_manifest(text);
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(*read, entries);
}

TEST(LayerManifest, AnEmptyLayerIsOne) {
  EXPECT_TRUE(parse_layer_manifest(kHead));
}

struct Wrong {
  const char* what;
  std::string lines;
};

TEST(LayerManifest, RefusesEverythingElse) {
  const Wrong cases[] = {
      {"unended", "w a"},
      {"no type", "x a\n"},
      {"empty line", "\n"},
      {"a field more", "w a b\n"},
      {"a field less", "d 755 0 a\n"},
      {"another spelling of a number", "d 0755 0 0 a\n"},
      {"plus", "d 755 +1 0 a\n"},
      {"another spelling of a byte", "w %61\n"},
      {"lower case", "w a%0a\n"},
      {"half a byte", "w a%2\n"},
      {"a raw byte", "w a\xc3\xa9\n"},
      {"set-id", "f 4755 0 0 7 3 " + kDigest + " a\n"},
      {"set-id folder", "d 4755 0 0 a\n"},
      {"an owner out of range", "d 755 65536 0 a\n"},
      {"a negative time", "f 644 0 0 -1 3 " + kDigest + " a\n"},
      {"a short digest", "f 644 0 0 7 3 abc a\n"},
      {"absolute", "w /a\n"},
      {"climbing", "d 755 0 0 ..\n"},
      {"climbing inside", "d 755 0 0 a\nw a/../b\n"},
      {"dot", "w .\n"},
      {"NUL", "w a%00\n"},
      {"a mark", "w .wh.a\n"},
      {"a mark for a folder", "d 755 0 0 .wh.a\n"},
      {"a mark inside", "d 755 0 0 a\nw a/.wh.b\n"},
      {"twice", "w a\nw a\n"},
      {"out of order", "w b\nw a\n"},
      {"out of order by parts", "d 755 0 0 a\nw a.b\nw a/b\n"},
      {"without its folder", "w a/b\n"},
      {"below a file", file("a") + "w a/b\n"},
      {"below a link", "l 0 0 a b\nw a/b\n"},
      {"a link that leads nowhere", "l 0 0 a \n"},
      {"a second name of nothing", "h b a\n"},
      {"a second name of what comes later", "h a b\n" + file("b")},
      {"a second name of a link", "l 0 0 a x\nh b a\n"},
      {"of the running sandbox", "d 755 0 0 run\n"},
      {"of the running sandbox, a link", "l 0 0 dev etc\n"},
      {"below one", "d 755 0 0 proc\nw proc/x\n"},
      {"its overlays", "w .weir-layers\n"},
  };
  for (const Wrong& each : cases) EXPECT_FALSE(parse_layer_manifest(kHead + each.lines)) << each.what;
  EXPECT_FALSE(parse_layer_manifest(""));
  EXPECT_FALSE(parse_layer_manifest("weir-layer 2\n"));
  // The twins.
  EXPECT_TRUE(parse_layer_manifest(kHead + "d 755 0 0 a\nw a/b\nw a.b\n"));
  EXPECT_TRUE(parse_layer_manifest(kHead + file("a") + "h b a\n"));
  EXPECT_TRUE(parse_layer_manifest(kHead + "d 2755 0 0 running\n"));
}

}  // namespace
}  // namespace weir::wire
