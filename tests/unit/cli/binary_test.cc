// The program itself: what only main() does.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "sys/owned_fd.h"

namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

struct Ran {
  int exit_code = -1;
  std::string out;
  std::string err;
};

std::string drain(int fd) {
  std::string text;
  std::array<char, 4096> chunk{};
  for (ssize_t got = 0; (got = ::read(fd, chunk.data(), chunk.size())) > 0;) {
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return text;
}

// `out`: where standard output goes instead of a pipe; empty: the pipe.
Ran weir(std::vector<std::string> words, const std::string& out = "") {
  int out_ends[2];
  int err_ends[2];
  EXPECT_EQ(::pipe2(out_ends, O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(err_ends, O_CLOEXEC), 0);
  const weir::sys::OwnedFd out_reader(out_ends[0]);
  const weir::sys::OwnedFd err_reader(err_ends[0]);
  weir::sys::OwnedFd out_writer(out_ends[1]);
  weir::sys::OwnedFd err_writer(err_ends[1]);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int target = out.empty() ? out_writer.get() : ::open(out.c_str(), O_WRONLY | O_CLOEXEC);
    ::dup2(target, STDOUT_FILENO);
    ::dup2(err_writer.get(), STDERR_FILENO);
    std::vector<char*> arguments = {const_cast<char*>("weir")};
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execv(WEIR_BINARY, arguments.data());
    ::_exit(99);
  }
  out_writer.reset();
  err_writer.reset();
  Ran ran;
  ran.out = drain(out_reader.get());
  ran.err = drain(err_reader.get());
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  if (WIFEXITED(status)) ran.exit_code = WEXITSTATUS(status);
  return ran;
}

TEST(Binary, PrintsToTheRightStreamAndExits) {
  Ran ran = weir({"version"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, StartsWith("weir "));
  EXPECT_THAT(ran.err, IsEmpty());
  ran = weir({"run", "--alow", "x", "true"});
  EXPECT_EQ(ran.exit_code, 125);
  EXPECT_EQ(ran.err, "weir: option --alow: unknown; did you mean --allow?\n");
  EXPECT_THAT(ran.out, IsEmpty());
}

TEST(Binary, AFullDiskIsAFailure) {
  const Ran ran = weir({"help"}, "/dev/full");
  EXPECT_EQ(ran.exit_code, 125);
  EXPECT_EQ(ran.err, "weir: cannot write the output: No space left on device\n");
}

// Closed descriptors are replaced before anything else could get their numbers.
TEST(Binary, ClosedStandardDescriptors) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close_range(STDIN_FILENO, STDERR_FILENO, 0);
    ::execl(WEIR_BINARY, "weir", "version", nullptr);
    ::_exit(99);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST(Binary, DoctorTellsByItsExitCode) {
  const Ran ran = weir({"doctor"});
  EXPECT_EQ(ran.exit_code, ran.out.find("MISSING") == std::string::npos ? 0 : 1);
  EXPECT_THAT(ran.out, HasSubstr("user namespace"));
}

}  // namespace
