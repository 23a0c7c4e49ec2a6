// Runs one sandbox in a supervisor process of its own, as root or as an ordinary user, and collects what came out.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "sandbox/sandbox.h"
#include "sandbox/spec.h"

namespace weir::sandbox::testing {

enum class As : std::uint8_t { root, ordinary };

// What /proc/self/status and friends should say of the ordinary user when the tests themselves run as root.
inline constexpr uid_t kOrdinaryUid = 54321;

struct Outcome {
  int exit_code = -1;   // as weir would exit; 125: the sandbox could not be started or broke
  std::string out;      // descriptor 1 of the command
  std::string err;      // descriptor 2 of the command
  std::string failure;  // why 125, 126 or 127
};

// A spec that runs `script` in a shell, with PATH and HOME.
Spec shell(const std::string& script);
// A spec that runs a Python program given as text.
Spec python(const std::string& program);

// `input` is what the command reads from descriptor 0.
Outcome run(const Spec& spec, As as, const std::string& input = "");

// Forks a process that becomes the given user and does `work`, which returns its exit code.
pid_t fork_as(As as, const std::function<int()>& work);

// Tests that need a user the process cannot be are skipped; gtest counts and prints them.
bool can_be(As as);

// A folder of the test that the given user owns, removed at the end.
class TestFolder {
 public:
  explicit TestFolder(As owner);
  ~TestFolder();
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::string& path() const { return path_; }
  // Makes a file with content, and the folders above it, owned like the folder.
  std::string write(const std::string& name, const std::string& content) const;
  std::string make(const std::string& name) const;

 private:
  uid_t owner_;
  std::string path_;
};

std::string read_file(const std::string& path);

}  // namespace weir::sandbox::testing
