// Seccomp programs, assembled from rules (kernel >= 4.14).
//
// Rules for one system call are tried in the order they were added; the first that matches decides; what no rule names
// gets the default. Calls of a foreign ABI (another audit architecture; x32 on x86_64) never reach the rules.
//
// The program finds the number by bisection: the kernel runs it once for every number there is when it is installed
// (since 5.11, to learn which need no filter), and a list of a hundred comparisons made that the longest step of a
// start.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <initializer_list>
#include <map>
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
  using Rules = std::map<std::uint32_t, Program>;
  Program search(Rules::const_iterator begin, Rules::const_iterator end) const;

  Rules rules_;  // for each number: its rules one after the other, falling through at the end
  Action otherwise_;
  Action foreign_abi_;
};

}  // namespace weir::sys
