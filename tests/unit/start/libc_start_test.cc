// A static program with weir's own entry: what a wrong or missing step of it would break.
#include <gtest/gtest.h>
#include <lzma.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string made_before_main = std::string("constructed") + std::getenv("PATH");
thread_local int of_this_thread = 7;

// tcbhead_t of glibc: 0x28 is the stack guard, 0x30 the pointer guard.
std::uint64_t stack_guard() {
  std::uint64_t value = 0;
  asm("movq %%fs:0x28, %0" : "=r"(value));
  return value;
}
std::uint64_t pointer_guard() {
  std::uint64_t value = 0;
  asm("movq %%fs:0x30, %0" : "=r"(value));
  return value;
}

TEST(LibcStart, TheGuardsAreTheKernelsRandomBytes) {
  const auto* random = reinterpret_cast<const std::uint64_t*>(::getauxval(AT_RANDOM));
  ASSERT_NE(random, nullptr);
  EXPECT_EQ(stack_guard(), random[0] & ~std::uint64_t{0xff});
  EXPECT_NE(stack_guard(), 0u);
  EXPECT_EQ(pointer_guard(), random[1]);
}

TEST(LibcStart, ConstructorsRanWithTheEnvironment) {
  EXPECT_EQ(made_before_main, std::string("constructed") + std::getenv("PATH"));
}

TEST(LibcStart, ThreadsHaveStorageOfTheirOwn) {
  of_this_thread = 8;
  int seen = 0;
  std::thread([&seen] { seen = of_this_thread; }).join();
  EXPECT_EQ(seen, 7);
  EXPECT_EQ(of_this_thread, 8);
}

TEST(LibcStart, ExceptionsAreCaught) {
  const auto thrower = [] { throw std::runtime_error("x"); };
  EXPECT_THROW(thrower(), std::runtime_error);
}

// Around every threshold at which memcpy(), memmove() and memset() change their way.
TEST(LibcStart, CopiesOfEverySize) {
  constexpr std::size_t kMost = 5 << 20;
  std::vector<unsigned char> from(kMost + 64);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<unsigned char>(i * 7 + (i >> 9));
  for (const std::size_t around : {0ul, 16ul, 64ul, 256ul, 2048ul, 4096ul, 65536ul, 786432ul, 1048576ul, 5ul << 20}) {
    for (std::size_t size = around < 16 ? 0 : around - 16; size <= std::min(around + 16, kMost); ++size) {
      std::vector<unsigned char> to(size + 2, 0xee);
      std::memcpy(to.data() + 1, from.data() + 3, size);
      ASSERT_TRUE(std::equal(to.begin() + 1, to.end() - 1, from.begin() + 3)) << size;
      ASSERT_TRUE(to.front() == 0xee && to.back() == 0xee) << size;
      if (size > 40) {
        std::memmove(to.data() + 20, to.data() + 1, size - 20);
        ASSERT_TRUE(std::equal(to.begin() + 20, to.begin() + static_cast<std::ptrdiff_t>(size), from.begin() + 3))
            << size;
      }
      std::memset(to.data() + 1, 0x11, size);
      ASSERT_TRUE(std::all_of(to.begin() + 1, to.end() - 1, [](unsigned char c) { return c == 0x11; })) << size;
    }
  }
}

TEST(LibcStart, DestructorsAndExitCodeOfMain) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::atexit([] { ::_exit(42); });
    std::exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

// The check value of CRC-64/XZ; in parts as well, as the decoder asks.
TEST(Crc64, IsTheOneOfXz) {
  const auto* digits = reinterpret_cast<const std::uint8_t*>("123456789");
  EXPECT_EQ(lzma_crc64(digits, 9, 0), 0x995d'c9bb'df19'39fau);
  EXPECT_EQ(lzma_crc64(digits + 4, 5, lzma_crc64(digits, 4, 0)), 0x995d'c9bb'df19'39fau);
  EXPECT_EQ(lzma_crc64(digits, 0, 0), 0u);
}

[[gnu::noinline]] void overflow() {
  volatile char small[8];
  volatile char* at = small;
  asm volatile("" : "+r"(at));  // the compiler does not know any more where it points
  for (int i = 0; i < 64; ++i) at[i] = 1;
}

TEST(LibcStart, AnOverwrittenStackEndsTheProcess) {
  EXPECT_EXIT(overflow(), ::testing::KilledBySignal(SIGABRT), "stack smashing");
}

}  // namespace
