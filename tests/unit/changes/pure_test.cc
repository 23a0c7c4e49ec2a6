// What needs no file: the list of what runs outside, links by their words, the manifest's text, differences of texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "changes/manifest.h"
#include "changes/run_outside.h"
#include "changes/take_over.h"
#include "changes/text_diff.h"

namespace weir::changes::testing {
namespace {

using ::testing::HasSubstr;

TEST(RunOutside, TheListAtAnyDepthAndInAnyCase) {
  for (const char* path : {".git/hooks", ".git/hooks/pre-commit", ".envrc", "sub/.envrc", "a/b/.vscode/tasks.json",
                           ".GIT/config", ".git/modules/x/config", ".config/fish/config.fish", "x/.Idea"})
    EXPECT_TRUE(is_run_outside(path)) << path;
  for (const char* path : {".git", ".git/index", ".git/hooks2", "envrc", ".envrc2", "src/main.c", ".gitx/hooks",
                           "git/hooks", ".config", ".config/fishy"})
    EXPECT_FALSE(is_run_outside(path)) << path;
}

TEST(RunOutside, WhatStandsInPlaceOfAFolderOfTheList) {
  for (const char* path : {".git", "sub/.git", ".config", "HEAD", "sub/HEAD", "head"}) {
    EXPECT_TRUE(would_be_run_outside(path, Stands::no_folder)) << path;
    EXPECT_FALSE(would_be_run_outside(path, Stands::folder)) << path;
  }
  for (const char* path : {".git/HEAD", "sub/.git/HEAD", "AHEAD", "HEAD.txt", ".gitignore"})
    EXPECT_FALSE(would_be_run_outside(path, Stands::no_folder)) << path;
}

TEST(Links, StayWithinByTheirWords) {
  for (const auto& [path, target] : {std::pair("a", "b"),
                                     {"a", "./b/c"},
                                     {"d/a", "../b"},
                                     {"d/e/a", "../../b"},
                                     {"a", "."},
                                     {"d/a", ".."},
                                     {"a", "b//c"}})
    EXPECT_TRUE(stays_within(path, target)) << path << " -> " << target;
  for (const auto& [path, target] : {std::pair("a", "/b"),
                                     {"a", ".."},
                                     {"a", "../b"},
                                     {"d/a", "../../b"},
                                     {"a", "b/../c"},
                                     {"d/a", "e/../../.."},
                                     {"a", ""},
                                     {"d/a", "./../.."}})
    EXPECT_FALSE(stays_within(path, target)) << path << " -> " << target;
}

Manifest example() {
  Manifest manifest{.sandbox = "w-01234567", .folder = "/home/me", .command = "npm", .started = "now", .left_out = 3};
  manifest.shares = {{.source = "/home/me/\xff\n", .inode = 42}};
  KeptEntry entry;
  entry.change = {.path = "a\x80\xc3\xa9\n\"", .kind = LayerChange::Kind::changed, .bytes = 7, .mode = 0644};
  entry.offset = 4096;
  entry.before = "digest";
  entry.changed_meanwhile = true;
  manifest.entries = {entry, {.change = {.path = "b", .type = LayerChange::Type::link, .link_target = "\xfe/x"}}};
  return manifest;
}

TEST(ManifestText, GivesBackEveryByte) {
  const Manifest manifest = example();
  const std::string text = manifest_text(manifest);
  for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f));
  const auto read = parse_manifest(text);
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(manifest_text(*read), text);
  EXPECT_EQ(read->shares[0].source, manifest.shares[0].source);
  EXPECT_EQ(read->entries[0].change.path, manifest.entries[0].change.path);
  EXPECT_EQ(read->entries[1].change.link_target, "\xfe/x");
  EXPECT_TRUE(read->entries[0].changed_meanwhile);
  EXPECT_EQ(read->left_out, 3u);
}

std::string with_path(const std::string& path) {
  Manifest manifest = example();
  manifest.entries = {{.change = {.path = path}}};
  const auto read = parse_manifest(manifest_text(manifest));
  return read ? "accepted" : read.error().what();
}

TEST(ManifestText, RefusesPathsThatLeadElsewhere) {
  EXPECT_EQ(with_path("a/b"), "accepted");
  EXPECT_EQ(with_path("..a"), "accepted");
  for (const char* path : {"../a", "a/../b", "a/..", "/etc/passwd", "a//b", "a/", ".", "a/./b", ""})
    EXPECT_THAT(with_path(path), HasSubstr("line 2")) << path;
  EXPECT_THAT(with_path(std::string("a\0b", 3)), HasSubstr("line 2"));
}

TEST(ManifestText, RefusesWhatIsNotWhole) {
  const std::string text = manifest_text(example());
  EXPECT_TRUE(parse_manifest(text));
  EXPECT_FALSE(parse_manifest(""));
  EXPECT_FALSE(parse_manifest(text.substr(0, text.size() - 1)));
  EXPECT_FALSE(parse_manifest(text.substr(0, text.rfind('\n', text.size() - 2) + 1)));  // a line less
  EXPECT_FALSE(parse_manifest(text + text.substr(text.rfind('\n', text.size() - 2) + 1)));
  Manifest wrong = example();
  wrong.entries[1].share = 1;
  EXPECT_FALSE(parse_manifest(manifest_text(wrong)));
  wrong = example();
  std::swap(wrong.entries[0], wrong.entries[1]);
  EXPECT_THAT(parse_manifest(manifest_text(wrong)).error().what(), HasSubstr("order"));
}

TEST(TextDiff, ShowsWhatChangedWithContext) {
  EXPECT_EQ(unified_diff("a\nb\nc\n", "a\nB\nc\n"), "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
  EXPECT_EQ(unified_diff("", "x\n"), "@@ -0,0 +1,1 @@\n+x\n");
  EXPECT_EQ(unified_diff("x\n", ""), "@@ -1,1 +0,0 @@\n-x\n");
  EXPECT_EQ(unified_diff("x\n", "x\n"), "");
  EXPECT_EQ(unified_diff("x", "x\n"), "@@ -1,1 +1,1 @@\n-x\n\\ No newline at end of file\n+x\n");
}

TEST(TextDiff, TwoHunksWhereTheyAreFarApart) {
  std::string before;
  for (int i = 1; i <= 30; ++i) before += std::to_string(i) + "\n";
  std::string after = before;
  after.replace(after.find("3\n"), 2, "X\n");
  after.insert(after.find("25\n"), "new\n");
  EXPECT_EQ(unified_diff(before, after),
            "@@ -1,6 +1,6 @@\n 1\n 2\n-3\n+X\n 4\n 5\n 6\n@@ -22,6 +22,7 @@\n 22\n 23\n 24\n+new\n 25\n 26\n 27\n");
}

TEST(TextDiff, EscapesAndIsBounded) {
  EXPECT_EQ(unified_diff("", "\t\x1b[31m\r\n"), "@@ -0,0 +1,1 @@\n+\t\\x1b[31m\\x0d\n");
  EXPECT_FALSE(unified_diff("", std::string("a\0b", 3)));
  EXPECT_FALSE(unified_diff("", std::string(kMaxDiffBytes + 1, 'x')));
  std::string one;
  std::string other;
  for (int i = 0; i < 3000; ++i) {
    one += "a" + std::to_string(i) + "\n";
    other += "b" + std::to_string(i) + "\n";
  }
  EXPECT_FALSE(unified_diff(one, other));
  EXPECT_TRUE(unified_diff(one, one + other));
}

}  // namespace
}  // namespace weir::changes::testing
