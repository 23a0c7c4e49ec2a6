#include "sys/seccomp_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>

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

bool same_instruction(const sock_filter& left, const sock_filter& right) {
  return left.code == right.code && left.jt == right.jt && left.jf == right.jf && left.k == right.k;
}

// A jump whose distance is not known yet: an instruction, and which of its two arms.
struct Jump {
  std::size_t at;
  std::uint8_t sock_filter::* arm;
};

// It leads to what is appended next.
void land(std::vector<sock_filter>& program, const Jump& jump) {
  program[jump.at].*jump.arm = static_cast<std::uint8_t>(program.size() - jump.at - 1);
}

// Per word of the argument: load, mask, compare. A word of which no bit counts is left out, as is a mask of all bits:
// the kernel checks, converts and compiles every instruction at each start.
void append(std::vector<sock_filter>& rule, std::vector<Jump>& exits, const SeccompFilter::Condition& condition) {
  struct Word {
    std::size_t offset;
    std::uint32_t mask;
    std::uint32_t value;
  };
  const std::size_t offset = low_word(condition.argument);
  std::vector<Word> words = {
      {offset, static_cast<std::uint32_t>(condition.mask), static_cast<std::uint32_t>(condition.value)},
      {offset + 4, static_cast<std::uint32_t>(condition.mask >> 32),
       static_cast<std::uint32_t>(condition.value >> 32)}};
  std::erase_if(words, [](const Word& word) { return word.mask == 0 && word.value == 0; });
  if (words.empty()) words = {{offset, 0, 0}};
  std::vector<Jump> holds;  // "not equal" holds as soon as one word differs
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& [word, mask, value] = words[i];
    const bool masked = value != 0 && mask != ~std::uint32_t{0};
    rule.push_back(load(word));
    if (masked) rule.push_back(statement(BPF_ALU | BPF_AND | BPF_K, mask));
    // Whether any of some bits is set is one instruction.
    const Jump equal{rule.size(), value == 0 ? &sock_filter::jf : &sock_filter::jt};
    const Jump different{rule.size(), value == 0 ? &sock_filter::jt : &sock_filter::jf};
    rule.push_back(value == 0 ? jump(BPF_JMP | BPF_JSET | BPF_K, mask, 0, 0)
                              : jump(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 0));
    if (condition.test == SeccompFilter::Condition::Test::equal) {
      exits.push_back(different);
    } else if (i + 1 == words.size()) {
      exits.push_back(equal);
    } else {
      holds.push_back(different);
    }
  }
  for (const Jump& jump : holds) land(rule, jump);
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

void SeccompFilter::add(long number, Action action, std::initializer_list<Condition> conditions) {
  Rules& rules = rules_[static_cast<std::uint32_t>(number)];
  if (rules.decided) return;  // what follows a rule without conditions is never reached
  Program rule;
  std::vector<Jump> exits;
  for (const Condition& condition : conditions) append(rule, exits, condition);
  rule.push_back(statement(BPF_RET | BPF_K, action.value));
  for (const Jump& exit : exits) land(rule, exit);
  rules.program.insert(rules.program.end(), rule.begin(), rule.end());
  rules.decided = conditions.size() == 0;
}

// The numbers fall into ranges with one program each: neighbours that are treated alike share it.
std::vector<SeccompFilter::Range> SeccompFilter::ranges() const {
  std::vector<Range> all;
  const auto begin_range = [&all](std::uint32_t first, Program program) {
    if (!all.empty() && all.back().first == first) all.pop_back();
    if (!all.empty() && std::ranges::equal(all.back().program, program, same_instruction)) return;
    all.push_back({.first = first, .program = std::move(program)});
  };
  const sock_filter otherwise = statement(BPF_RET | BPF_K, otherwise_.value);
  begin_range(0, {otherwise});
  for (const auto& [number, rules] : rules_) {
    Program program = rules.program;
    if (!rules.decided) program.push_back(otherwise);
    begin_range(number, std::move(program));
    begin_range(number + 1, {otherwise});
  }
  return all;
}

// With the number in the accumulator.
SeccompFilter::Program SeccompFilter::search(std::span<const Range> ranges) {
  if (ranges.size() == 1) return ranges.front().program;
  const std::size_t middle = ranges.size() / 2;
  const Program below = search(ranges.first(middle));
  const Program above = search(ranges.subspan(middle));
  // A conditional jump reaches 255 instructions, an unconditional one all of them.
  constexpr std::size_t kReach = 255;
  Program all;
  if (below.size() <= kReach) {
    all = {jump(BPF_JMP | BPF_JGE | BPF_K, ranges[middle].first, static_cast<std::uint8_t>(below.size()), 0)};
  } else {
    all = {jump(BPF_JMP | BPF_JGE | BPF_K, ranges[middle].first, 0, 1),
           statement(BPF_JMP | BPF_JA, static_cast<std::uint32_t>(below.size()))};
  }
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
  const std::vector<Range> known = ranges();
  const Program rules = search(known);
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
