#include "languages/language.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>

namespace weir::languages {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string_view name_of(const Language* language) {
  return language == nullptr ? "none" : language->name;
}

TEST(Languages, AreFoundByNameInEitherCase) {
  EXPECT_EQ(name_of(by_name("python")), "python");
  EXPECT_EQ(name_of(by_name("Python3")), "python");
  EXPECT_EQ(name_of(by_name("C++")), "c++");
  EXPECT_EQ(name_of(by_name("cpp")), "c++");
  EXPECT_EQ(name_of(by_name("golang")), "go");
  EXPECT_EQ(name_of(by_name("TypeScript")), "typescript");
  EXPECT_EQ(name_of(by_name("cobol")), "none");
  EXPECT_EQ(name_of(by_name("")), "none");
}

TEST(Languages, AreFoundByExtension) {
  EXPECT_EQ(name_of(by_file_name("a/b.py")), "python");
  EXPECT_EQ(name_of(by_file_name("MAIN.PY")), "python");
  EXPECT_EQ(name_of(by_file_name("x.tar.ts")), "typescript");
  EXPECT_EQ(name_of(by_file_name("x.cc")), "c++");
  EXPECT_EQ(name_of(by_file_name("x.c")), "c");
  EXPECT_EQ(name_of(by_file_name("x.sh")), "bash");
  EXPECT_EQ(name_of(by_file_name("folder.py/script")), "none");
  EXPECT_EQ(name_of(by_file_name(".py")), "none");
  EXPECT_EQ(name_of(by_file_name("py")), "none");
}

TEST(Languages, AreFoundByFirstLine) {
  EXPECT_EQ(name_of(by_first_line("#!/usr/bin/python3.11 -u\nprint()")), "python");
  EXPECT_EQ(name_of(by_first_line("#! /usr/bin/env node")), "javascript");
  EXPECT_EQ(name_of(by_first_line("#!/usr/bin/env -S A=1 lua5.4 -W\n")), "lua");
  EXPECT_EQ(name_of(by_first_line("#!/bin/sh\r\n")), "sh");
  EXPECT_EQ(name_of(by_first_line("#!/usr/bin/env")), "none");
  EXPECT_EQ(name_of(by_first_line("#!/usr/bin/awk -f")), "none");
  EXPECT_EQ(name_of(by_first_line("#!\n/usr/bin/python3")), "none");
  EXPECT_EQ(name_of(by_first_line("python3")), "none");
}

TEST(Languages, TableIsWithoutContradictions) {
  std::set<std::string_view> names;
  std::set<std::string_view> endings;
  for (const Language& language : all()) {
    EXPECT_TRUE(names.insert(language.name).second) << language.name;
    for (const auto alias : language.aliases) EXPECT_TRUE(names.insert(alias).second) << alias;
    for (const auto ending : language.extensions) EXPECT_TRUE(endings.insert(ending).second) << ending;
    EXPECT_FALSE(language.programs.empty()) << language.name;
    EXPECT_FALSE(language.package.empty()) << language.name;
    // Without steps exactly one program is executed; and code without a name is found again by the one it gets.
    if (language.steps.empty()) EXPECT_EQ(language.programs.size(), 1u) << language.name;
    if (language.name != "sh") EXPECT_EQ(by_file_name(language.file_name), &language);
  }
  for (const char* wanted :
       {"python", "bash", "javascript", "typescript", "ruby", "perl", "php", "lua", "c", "c++", "go", "rust", "java"}) {
    EXPECT_NE(by_name(wanted), nullptr) << wanted;
  }
}

TEST(Languages, UnknownOneNamesTheNearest) {
  EXPECT_EQ(unknown("pyhton").remedy(), "did you mean python?");
  EXPECT_THAT(unknown("\x1b[2J").what(), HasSubstr("\\x1b"));
  EXPECT_THAT(unknown("\x1b[2J").remedy(), HasSubstr("javascript"));
}

TEST(Languages, InterpreterIsExecutedWithoutAShell) {
  const std::vector<std::string> arguments = {"-x", "$(touch /tmp/no)"};
  EXPECT_THAT(command(*by_name("python"), "/run/a b.py", arguments),
              ElementsAre("python3", "/run/a b.py", "-x", "$(touch /tmp/no)"));
}

TEST(Languages, TextForTheShellIsTheSameWhateverTheWordsAre) {
  const std::vector<std::string> arguments = {"$(touch /tmp/no)", "--"};
  const auto one = command(*by_name("c"), "/run/$(touch no).c", arguments);
  const auto other = command(*by_name("c"), "/x", {});
  ASSERT_GT(one.size(), 6u);
  EXPECT_EQ(one[2], other[2]);
  EXPECT_EQ(one[5], "/run/$(touch no).c");
  EXPECT_THAT(std::vector(one.end() - 3, one.end()), ElementsAre("--", "$(touch /tmp/no)", "--"));
}

struct Ran {
  int code;
  std::string err;
};

// With the empty folder /proc/self/task as PATH of the shell: nothing is found there.
Ran run_without_programs(std::vector<std::string> words) {
  std::array<int, 2> pipe{};
  EXPECT_EQ(::pipe(pipe.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pipe[1], STDERR_FILENO);
    ::close(pipe[0]);
    ::close(pipe[1]);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    char path[] = "PATH=/proc/self/task";
    char* envp[] = {path, nullptr};
    ::execve("/bin/sh", argv.data(), envp);
    ::_exit(99);
  }
  ::close(pipe[1]);
  Ran ran{};
  std::array<char, 1024> buffer;
  for (ssize_t count = 0; (count = ::read(pipe[0], buffer.data(), buffer.size())) > 0;)
    ran.err.append(buffer.data(), static_cast<std::size_t>(count));
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

TEST(Languages, WithoutAProgramTheShellSaysWhatIsMissing) {
  for (const Language& language : all()) {
    if (language.steps.empty()) continue;
    const Ran ran = run_without_programs(command(language, "/x", {}));
    EXPECT_EQ(ran.code, 127) << language.name;
    EXPECT_THAT(ran.err, HasSubstr("weir: cannot run " + std::string(language.name))) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("Debian package " + std::string(language.package))) << ran.err;
    EXPECT_EQ(std::ranges::count(ran.err, '\n'), 1) << ran.err;
  }
}

}  // namespace
}  // namespace weir::languages
