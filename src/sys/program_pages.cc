#include "sys/program_pages.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

// From the linker: where the program's headers begin and its code ends.
extern "C" {
extern const char __executable_start[];  // NOLINT(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern const char etext[];
}

namespace weir::sys {

// Nothing in between is ever written: constants first, then code, as the linker lays them out.
void forget_program_pages() {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(__executable_start) & ~(page - 1);
  const auto end = reinterpret_cast<std::uintptr_t>(etext) & ~(page - 1);
  // Only a saving: where the kernel does not want to, nothing is lost.
  static_cast<void>(::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED));
  // What the set-up needed of the heap.
  ::malloc_trim(0);
}

}  // namespace weir::sys
