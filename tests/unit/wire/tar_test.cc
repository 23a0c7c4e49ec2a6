// Archives as literals: what is read, and what is refused with which word.
#include "wire/tar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

namespace weir::wire {
namespace {

using ::testing::HasSubstr;

class Memory : public ByteStream {
 public:
  Memory(std::string bytes, std::size_t step) : bytes_(std::move(bytes)), step_(step) {}
  Result<std::size_t> read(MutableBytes into) override {
    const std::size_t count = std::min({into.size(), step_, bytes_.size() - at_});
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), count, into.begin());
    at_ += count;
    return count;
  }

 private:
  std::string bytes_;
  std::size_t step_;
  std::size_t at_ = 0;
};

struct Header {
  std::string name = "file";
  char type = '0';
  std::string size = "00000000000";
  std::string link = {};
  std::string mode = "0000644";
  std::string uid = "0000000";
  std::string magic = std::string("ustar\00000", 8);
  std::string prefix = {};
  bool right_checksum = true;
};

void put(std::string& block, std::size_t at, const std::string& text) {
  block.replace(at, text.size(), text);
}

std::string block_of(const Header& header) {
  std::string block(512, '\0');
  put(block, 0, header.name);
  put(block, 100, header.mode);
  put(block, 108, header.uid);
  put(block, 116, "0000000");
  put(block, 124, header.size);
  put(block, 136, "00000000001");
  put(block, 148, "        ");
  block[156] = header.type;
  put(block, 157, header.link);
  put(block, 257, header.magic);
  put(block, 345, header.prefix);
  unsigned sum = header.right_checksum ? 0 : 1;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "%06o", sum);
  put(block, 148, std::string(text.data(), 7) + " ");
  return block;
}

std::string octal(std::size_t size) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "%011zo", size);
  return text.data();
}

std::string with_content(Header header, const std::string& content) {
  header.size = octal(content.size());
  return block_of(header) + content + std::string((512 - content.size() % 512) % 512, '\0');
}

std::string pax(const std::string& records, char type = 'x') {
  return with_content({.name = "pax", .type = type}, records);
}

std::string record(const std::string& key, const std::string& value) {
  const std::size_t bare = key.size() + value.size() + 3;
  std::size_t length = bare + std::to_string(bare).size();
  if (std::to_string(length).size() != std::to_string(bare).size()) ++length;
  return std::to_string(length) + " " + key + "=" + value + "\n";
}

const std::string kEnd(1024, '\0');

// "path" per entry, "!message" for a refusal at the end.
std::vector<std::string> read_all(const std::string& bytes, std::size_t step = 1 << 20) {
  Memory memory(bytes, step);
  TarReader reader(memory);
  std::vector<std::string> seen;
  while (true) {
    const auto entry = reader.next();
    if (!entry) {
      seen.push_back("!" + entry.error().what());
      return seen;
    }
    if (!*entry) return seen;
    seen.push_back((*entry)->path + ((*entry)->link.empty() ? "" : " -> " + (*entry)->link));
    std::array<std::uint8_t, 100> buffer;
    std::string content;
    while (true) {
      const auto got = reader.read(buffer);
      if (!got) {
        seen.push_back("!" + got.error().what());
        return seen;
      }
      if (*got == 0) break;
      content += as_text(Bytes(buffer).first(*got));
    }
    if (!content.empty()) seen.back() += " = " + content;
  }
}

std::string refusal(const std::string& bytes) {
  const auto seen = read_all(bytes);
  return !seen.empty() && seen.back().starts_with('!') ? seen.back() : "not refused";
}

using List = std::vector<std::string>;

TEST(Tar, ReadsWhatWritersWrite) {
  EXPECT_EQ(read_all(kEnd), List());
  EXPECT_EQ(read_all(block_of({.name = "./", .type = '5'}) + with_content({.name = "./a"}, "hello") + kEnd),
            (List{"", "a = hello"}));
  EXPECT_EQ(read_all(block_of({.name = "d/", .type = '5'}) + block_of({.name = "d/l", .type = '2', .link = "../../x"}) +
                     block_of({.name = "h", .type = '1', .link = "./d/f"}) + kEnd),
            (List{"d", "d/l -> ../../x", "h -> d/f"}));
  EXPECT_EQ(read_all(block_of({.name = "b", .prefix = "a/long"}) + kEnd), List{"a/long/b"});
  EXPECT_EQ(read_all(block_of({.name = "old", .type = '\0', .magic = std::string("ustar  \0", 8)}) + kEnd),
            List{"old"});
  EXPECT_EQ(read_all(with_content({.name = "././@LongLink", .type = 'L'}, std::string(150, 'n') + '\0') +
                     block_of({.name = "nnn"}) + kEnd),
            List{std::string(150, 'n')});
  EXPECT_EQ(read_all(pax(record("path", "p") + record("mtime", "12.5") + record("uname", "x") +
                         record("SCHILY.xattr.user.a", "v")) +
                     block_of({}) + kEnd),
            List{"p"});
  EXPECT_EQ(read_all(pax(record("comment", "a commit"), 'g') + block_of({}) + kEnd), List{"file"});
  // A size of base 256.
  EXPECT_EQ(read_all(block_of({.size = std::string("\x80\0\0\0\0\0\0\0\0\0\0\x02", 12)}) + "hi" +
                     std::string(510, '\0') + kEnd),
            List{"file = hi"});
  EXPECT_EQ(read_all(block_of({.mode = "0100755"}) + kEnd), List{"file"});
  // Writers fill up the last record.
  EXPECT_EQ(read_all(block_of({}) + kEnd + std::string(8192, '\0')), List{"file"});
}

TEST(Tar, EverySplitReadsTheSame) {
  const std::string archive = pax(record("path", "p")) + with_content({}, std::string(700, 'c')) + kEnd;
  for (std::size_t step = 1; step < 600; step += 13) EXPECT_EQ(read_all(archive, step), read_all(archive)) << step;
}

TEST(Tar, EveryTruncationIsRefused) {
  const std::string archive = pax(record("path", "p")) + with_content({}, std::string(700, 'c')) + kEnd;
  for (std::size_t size = 0; size < archive.size(); size += 31) {
    EXPECT_NE(refusal(archive.substr(0, size)), "not refused") << size;
  }
  EXPECT_NE(refusal(archive.substr(0, archive.size() - 512)), "not refused");
}

TEST(Tar, HostileNames) {
  for (const char* name : {"/etc/passwd", "../x", "a/../../x", "a/..", "..", "a//b", "a/./b", ".//x", "a/."}) {
    EXPECT_NE(refusal(block_of({.name = name}) + kEnd), "not refused") << name;
    EXPECT_NE(refusal(block_of({.name = "h", .type = '1', .link = name}) + kEnd), "not refused") << name;
  }
  EXPECT_THAT(refusal(block_of({.name = ""}) + kEnd), HasSubstr("an empty name"));
  EXPECT_THAT(refusal(block_of({.name = "file/"}) + kEnd), HasSubstr("only a folder"));
  EXPECT_THAT(refusal(pax(record("path", std::string("a\0b", 3))) + block_of({}) + kEnd), HasSubstr("NUL"));
  EXPECT_THAT(refusal(pax(record("path", std::string(5000, 'a'))) + block_of({}) + kEnd), HasSubstr("4,095"));
  EXPECT_THAT(refusal(pax(record("path", std::string(300, 'a'))) + block_of({}) + kEnd), HasSubstr("255"));
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += "d/";
  EXPECT_THAT(refusal(pax(record("path", deep + "f")) + block_of({}) + kEnd), HasSubstr("256 folders"));
  EXPECT_EQ(refusal(block_of({.name = "...ok"}) + block_of({.name = "a..b/..c"}) + kEnd), "not refused");
}

TEST(Tar, HostileNumbers) {
  const std::vector<std::string> sizes = {std::string(12, '\xff'),
                                          std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
                                          "0000000000x",
                                          "-0000000001",
                                          "0x00000001",
                                          std::string("\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 12)};
  for (const std::string& size : sizes) EXPECT_NE(refusal(block_of({.size = size}) + kEnd), "not refused") << size;
  for (const char* size : {"-1", "1x", "", "99999999999999999999", "0x10", " 1", "1e3"}) {
    EXPECT_NE(refusal(pax(record("size", size)) + block_of({}) + kEnd), "not refused") << size;
  }
  EXPECT_NE(refusal(pax(record("size", "9000000000000000")) + block_of({}) + kEnd), "not refused");  // truncated
  EXPECT_THAT(refusal(block_of({.uid = std::string("\x80\0\0\1\0\0\0\0", 8)}) + kEnd), HasSubstr("owner"));
  EXPECT_THAT(refusal(block_of({.mode = "0120644"}) + kEnd), HasSubstr("mode"));
}

TEST(Tar, HostileHeaders) {
  EXPECT_THAT(refusal(block_of({.right_checksum = false}) + kEnd), HasSubstr("checksum"));
  EXPECT_THAT(refusal(block_of({.magic = std::string(8, '\0')}) + kEnd), HasSubstr("ustar"));
  EXPECT_THAT(refusal(block_of({.type = 'S'}) + kEnd), HasSubstr("sparse"));
  EXPECT_THAT(refusal(pax(record("GNU.sparse.realsize", "1000000000000")) + block_of({}) + kEnd), HasSubstr("sparse"));
  for (const char type : {'7', 'M', 'V', 'D', 'N', 'A', 'Z'}) {
    EXPECT_THAT(refusal(block_of({.type = type}) + kEnd), HasSubstr("type")) << type;
  }
  EXPECT_THAT(refusal(pax(record("size", "5"), 'g') + block_of({}) + kEnd), HasSubstr("all entries"));
  EXPECT_THAT(refusal(pax(record("surprise", "5")) + block_of({}) + kEnd), HasSubstr("unknown meaning"));
  EXPECT_THAT(refusal(pax(record("path", "a") + record("path", "b")) + block_of({}) + kEnd), HasSubstr("two headers"));
  EXPECT_THAT(refusal(pax("99 path=a\n") + block_of({}) + kEnd), HasSubstr("wrong length"));
  EXPECT_THAT(refusal(pax("0 path=a\n") + block_of({}) + kEnd), HasSubstr("wrong length"));
  EXPECT_THAT(refusal(pax("6 =abc\n") + block_of({}) + kEnd), HasSubstr("pax header"));
  EXPECT_THAT(refusal(block_of({.name = "pax", .type = 'x', .size = octal(kMaxPaxBytes + 1)}) + kEnd),
              HasSubstr("limit"));
  EXPECT_THAT(refusal(pax(record("path", "p")) + kEnd), HasSubstr("does not come"));
  EXPECT_THAT(refusal(with_content({.name = "d", .type = '5'}, "content") + kEnd), HasSubstr("content"));
  EXPECT_THAT(refusal(block_of({.name = "l", .type = '2'}) + kEnd), HasSubstr("target"));
  EXPECT_THAT(refusal(block_of({}) + kEnd + block_of({}) + kEnd), HasSubstr("after the end"));
}

TEST(Tar, AttributesAreBounded) {
  std::string archive;
  for (char c = 'a'; c < 'd'; ++c)
    archive += pax(record(std::string("SCHILY.xattr.user.") + c, std::string(500'000, 'v')));
  EXPECT_THAT(refusal(archive + block_of({}) + kEnd), HasSubstr("1 MiB"));
}

}  // namespace
}  // namespace weir::wire
