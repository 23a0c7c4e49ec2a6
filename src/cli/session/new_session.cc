#include "cli/session/new_session.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "sys/child_process.h"
#include "sys/errno.h"
#include "sys/pipe.h"

namespace weir::cli {
namespace {

constexpr const char* kThisProgram = "/proc/self/exe";
constexpr int kNotExecuted = 125;

[[noreturn]] void become(const std::vector<std::string>& words, const sys::OwnedFd& output) {
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  if (::dup2(output.get(), STDOUT_FILENO) == STDOUT_FILENO)
    ::execve(kThisProgram, const_cast<char* const*>(argv.data()), environ);
  ::_exit(kNotExecuted);
}

Result<std::string> read_all(const sys::OwnedFd& fd) {
  std::string text;
  std::array<char, 256> buffer;
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys::errno_error("cannot read from weir session create");
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace

Result<std::optional<std::string>> create_session(const std::vector<std::string>& options) {
  std::vector<std::string> words = {"weir", "session", "create"};
  words.insert(words.end(), options.begin(), options.end());
  WEIR_TRY(auto pipe, sys::make_pipe());
  auto& [reader, writer] = pipe;
  WEIR_TRY(sys::ChildProcess process, sys::ChildProcess::clone(0));
  if (process.in_child()) become(words, writer);
  writer.reset();
  WEIR_TRY(std::string id, read_all(reader));
  const auto status = process.wait();
  if (!status || *status != 0 || !id.ends_with('\n')) return std::nullopt;
  id.pop_back();
  return std::optional(std::move(id));
}

}  // namespace weir::cli
