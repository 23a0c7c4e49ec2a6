// Seccomp programs, assembled from rules (kernel >= 4.14).
//
// Rules for one system call are tried in the order they were added; the first that matches decides; what no rule names
// gets the default. Calls of a foreign ABI (another audit architecture; x32 on x86_64) never reach the rules.
//
// The program finds the number by bisection, in ranges of numbers that are treated alike: the kernel runs it once for
// every number there is when it is installed (since 5.11, to learn which need no filter), and compiles it each time.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <vector>

#include "base/error.h"

namespace weir::sys {

class SeccompFilter {
 public:
  // A value for SECCOMP_RET_*: kill, allow, or an errno.
  struct Action {
    std::uint32_t value;
    static Action allow();
    static Action kill_process();
    static Action fail_with(int code);
  };

  // A condition on one argument: (argument & mask) == value, or its negation. All 64 bits are compared.
  struct Condition {
    unsigned argument = 0;
    std::uint64_t mask = ~0ull;
    std::uint64_t value = 0;
    enum class Test : std::uint8_t { equal, not_equal } test = Test::equal;
  };

  SeccompFilter(Action otherwise, Action foreign_abi);

  // System call `number` with all conditions true gets `action`.
  void add(long number, Action action, std::initializer_list<Condition> conditions = {});

  // Sets no_new_privs and installs the program on the calling thread, for good.
  Result<> install() const;

  // The finished program, for tests and for a process that installs it later.
  std::vector<sock_filter> program() const;

 private:
  using Program = std::vector<sock_filter>;
  // Of one number: one after the other, falling through at the end unless the last decides every call.
  struct Rules {
    Program program;
    bool decided = false;
  };
  struct Range {
    std::uint32_t first;
    Program program;
  };
  std::vector<Range> ranges() const;
  static Program search(std::span<const Range> ranges);

  std::map<std::uint32_t, Rules> rules_;
  Action otherwise_;
  Action foreign_abi_;
};

}  // namespace weir::sys
