#include "sys/seccomp_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <iterator>

#include "sys/errno.h"

namespace weir::sys {

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "seccomp: this architecture has no system call table here"
#endif

// x32 calls carry this bit in the number and the architecture of x86_64.
constexpr std::uint32_t kX32Bit = 0x40000000;

sock_filter statement(unsigned code, std::uint32_t operand) {
  return {static_cast<std::uint16_t>(code), 0, 0, operand};
}

sock_filter jump(unsigned code, std::uint32_t operand, std::uint8_t if_true, std::uint8_t if_false) {
  return {static_cast<std::uint16_t>(code), if_true, if_false, operand};
}

sock_filter load(std::size_t offset) {
  return statement(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}

// Both supported architectures are little-endian: the low word of an argument comes first.
std::size_t low_word(unsigned argument) {
  return offsetof(seccomp_data, args) + 8 * argument;
}

}  // namespace

SeccompFilter::Action SeccompFilter::Action::allow() {
  return {SECCOMP_RET_ALLOW};
}
SeccompFilter::Action SeccompFilter::Action::kill_process() {
  return {SECCOMP_RET_KILL_PROCESS};
}
SeccompFilter::Action SeccompFilter::Action::fail_with(int code) {
  return {SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(code) & SECCOMP_RET_DATA)};
}

SeccompFilter::SeccompFilter(Action otherwise, Action foreign_abi) : otherwise_(otherwise), foreign_abi_(foreign_abi) {}

// Per condition and word: load, mask, compare, or skip to the next rule.
void SeccompFilter::add(long number, Action action, std::initializer_list<Condition> conditions) {
  Program rule;
  // How far "no" jumps is patched below, when the length of the rule is known.
  struct Exit {
    std::size_t at;
    enum class When : std::uint8_t { equal, not_equal } when;
  };
  std::vector<Exit> exits;
  for (const Condition& condition : conditions) {
    const bool negated = condition.test == Condition::Test::not_equal;
    const auto low_mask = static_cast<std::uint32_t>(condition.mask);
    const auto high_mask = static_cast<std::uint32_t>(condition.mask >> 32);
    rule.push_back(load(low_word(condition.argument)));
    rule.push_back(statement(BPF_ALU | BPF_AND | BPF_K, low_mask));
    // Negated: the low word differing is enough, so "not equal" jumps past the high word's test (3 instructions).
    if (!negated) exits.push_back({rule.size(), Exit::When::not_equal});
    rule.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(condition.value), 0, negated ? 3 : 0));
    rule.push_back(load(low_word(condition.argument) + 4));
    rule.push_back(statement(BPF_ALU | BPF_AND | BPF_K, high_mask));
    exits.push_back({rule.size(), negated ? Exit::When::equal : Exit::When::not_equal});
    rule.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(condition.value >> 32), 0, 0));
  }
  rule.push_back(statement(BPF_RET | BPF_K, action.value));
  for (const Exit& exit : exits) {
    const auto distance = static_cast<std::uint8_t>(rule.size() - exit.at - 1);
    (exit.when == Exit::When::equal ? rule[exit.at].jt : rule[exit.at].jf) = distance;
  }
  Program& rules = rules_[static_cast<std::uint32_t>(number)];
  rules.insert(rules.end(), rule.begin(), rule.end());
}

// With the number in the accumulator.
SeccompFilter::Program SeccompFilter::search(Rules::const_iterator begin, Rules::const_iterator end) const {
  const sock_filter otherwise = statement(BPF_RET | BPF_K, otherwise_.value);
  if (begin == end) return {otherwise};
  const auto count = std::distance(begin, end);
  Program all;
  if (count == 1) {
    all = {jump(BPF_JMP | BPF_JEQ | BPF_K, begin->first, 1, 0), otherwise};
    all.insert(all.end(), begin->second.begin(), begin->second.end());
    all.push_back(otherwise);
    return all;
  }
  const auto middle = std::next(begin, count / 2);
  const Program below = search(begin, middle);
  const Program above = search(middle, end);
  // A conditional jump reaches 255 instructions, an unconditional one all of them.
  all = {jump(BPF_JMP | BPF_JGE | BPF_K, middle->first, 0, 1),
         statement(BPF_JMP | BPF_JA, static_cast<std::uint32_t>(below.size()))};
  all.insert(all.end(), below.begin(), below.end());
  all.insert(all.end(), above.begin(), above.end());
  return all;
}

std::vector<sock_filter> SeccompFilter::program() const {
  Program all = {
      load(offsetof(seccomp_data, arch)),
      jump(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      statement(BPF_RET | BPF_K, foreign_abi_.value),
      load(offsetof(seccomp_data, nr)),
#if defined(__x86_64__)
      jump(BPF_JMP | BPF_JSET | BPF_K, kX32Bit, 0, 1),
      statement(BPF_RET | BPF_K, foreign_abi_.value),
#endif
  };
  const Program rules = search(rules_.begin(), rules_.end());
  all.insert(all.end(), rules.begin(), rules.end());
  return all;
}

Result<> SeccompFilter::install() const {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_error("cannot set no_new_privs");
  std::vector<sock_filter> all = program();
  const sock_fprog filter{.len = static_cast<unsigned short>(all.size()), .filter = all.data()};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0)
    return errno_error("cannot install a seccomp filter");
  return {};
}

}  // namespace weir::sys
