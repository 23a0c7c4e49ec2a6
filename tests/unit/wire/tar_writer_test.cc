// What is written is what TarReader reads; its bytes where other readers look for them.
#include "wire/tar_writer.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace weir::wire {
namespace {

class Memory : public ByteStream {
 public:
  explicit Memory(std::string bytes) : bytes_(std::move(bytes)) {}
  Result<std::size_t> read(MutableBytes into) override {
    const std::size_t count = std::min(into.size(), bytes_.size() - at_);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), count, into.begin());
    at_ += count;
    return count;
  }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
};

TarEntry entry(TarEntry::Type type, std::string path, std::string link = "") {
  TarEntry made;
  made.type = type;
  made.path = std::move(path);
  made.link = std::move(link);
  made.mode = 0640;
  made.uid = 1000;
  made.gid = 1001;
  made.mtime = 1'700'000'000;
  return made;
}

void expect_same(const TarEntry& read, const TarEntry& written) {
  EXPECT_EQ(read.type, written.type);
  EXPECT_EQ(read.path, written.path);
  EXPECT_EQ(read.link, written.link);
  EXPECT_EQ(read.mode, written.mode);
  EXPECT_EQ(read.uid, written.uid);
  EXPECT_EQ(read.gid, written.gid);
  EXPECT_EQ(read.mtime, written.mtime);
  EXPECT_EQ(read.size, written.size);
  EXPECT_EQ(read.attributes, written.attributes);
}

TEST(TarWriter, WhatIsWrittenIsRead) {
  using enum TarEntry::Type;
  const std::string deep = std::string(200, 'a') + "/" + std::string(200, 'b');
  std::vector<TarEntry> all = {entry(folder, ""),
                               entry(folder, "folder"),
                               entry(folder, deep),
                               entry(file, "folder/file"),
                               entry(file, std::string(100, 'n')),
                               entry(file, std::string(101, 'n')),
                               entry(file, deep + "/\xff\xfe new\nline"),
                               entry(hard_link, "hard", deep + "/x"),
                               entry(symbolic_link, "link", std::string(4095, 'l')),
                               entry(symbolic_link, "out", "../../etc"),
                               entry(fifo, "fifo")};
  all[3].mode = 07777;
  all[4].uid = 4'000'000'000;
  all[4].gid = 2'097'152;
  all[5].mtime = std::int64_t{1} << 40;
  all[6].attributes = {{"user.a", std::string("\0\n=", 3)}, {"user.b", std::string(5000, 'v')}};
  std::string archive;
  for (const TarEntry& each : all) archive += tar_headers(each);
  Memory memory(archive + tar_end());
  TarReader reader(memory);
  for (const TarEntry& written : all) {
    const auto read = reader.next();
    ASSERT_TRUE(read && *read) << read.error().what();
    expect_same(**read, written);
  }
  const auto end = reader.next();
  EXPECT_TRUE(end && !*end);
}

TEST(TarWriter, ContentIsPadded) {
  for (const std::size_t size : {0u, 1u, 511u, 512u, 513u}) {
    const std::string content(size, 'c');
    Memory memory(tar_file_header("f", size) + content + tar_padding(size) + tar_end());
    TarReader reader(memory);
    const auto read = reader.next();
    ASSERT_TRUE(read && *read);
    EXPECT_EQ((*read)->size, size);
    const auto end = reader.next();
    EXPECT_TRUE(end && !*end) << size;
  }
}

// 8 GiB need more than 11 octal digits.
TEST(TarWriter, AHugeFile) {
  const std::uint64_t size = (std::uint64_t{1} << 33) + 7;
  Memory memory(tar_file_header("huge", size));
  TarReader reader(memory);
  const auto read = reader.next();
  ASSERT_TRUE(read && *read);
  EXPECT_EQ((*read)->size, size);
}

// POSIX.1-1988: places of the fields of a plain header.
TEST(TarWriter, AFieldIsWhereItBelongs) {
  const std::string block = tar_headers(entry(TarEntry::Type::folder, "some"));
  ASSERT_EQ(block.size(), kTarBlock);
  EXPECT_EQ(block.substr(0, 6), std::string("some/\0", 6));
  EXPECT_EQ(block.substr(100, 8), std::string("0000640\0", 8));
  EXPECT_EQ(block.substr(108, 16), std::string("0001750\0"
                                               "0001751\0",
                                               16));
  EXPECT_EQ(block[156], '5');
  EXPECT_EQ(block.substr(257, 8), std::string("ustar\00000", 8));
}

}  // namespace
}  // namespace weir::wire
