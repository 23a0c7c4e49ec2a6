// glibc's entry of a static program, without asking the processor what it is.
//
// glibc 2.36 reads the sizes of the caches before main() to tune memcpy(), with some fifty CPUID instructions. On bare
// metal that takes microseconds; inside a virtual machine each of them traps to the hypervisor, and together they took
// half a millisecond: as long as everything else that weir does before it starts a sandbox. This file does what
// csu/libc-start.c does for a static, non-PIE program on x86_64, in the same order, and leaves that step out: memcpy()
// and its like are then the plain SSE2 ones, with the thresholds below. See docs/decisions/0008.
//
// Only for exactly that glibc (src/CMakeLists.txt checks; other builds keep glibc's own entry), because the functions
// called here are its internals.
#include <elf.h>

#include <cstddef>
#include <cstdint>

namespace {

using Initialiser = void(int, char**, char**);
using Finaliser = void();

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)
extern "C" {

// From the other parts of libc.a and from the linker.
extern char** __environ;
extern void* __libc_stack_end;
extern void* _dl_random;  // 16 random bytes from the kernel
extern int __libc_enable_secure;
extern const Elf64_Rela __rela_iplt_start[];
extern const Elf64_Rela __rela_iplt_end[];
extern Initialiser* const __preinit_array_start[];
extern Initialiser* const __preinit_array_end[];
extern Initialiser* const __init_array_start[];
extern Initialiser* const __init_array_end[];
extern Finaliser* const __fini_array_start[];
extern Finaliser* const __fini_array_end[];
void _init();
void _fini();
void _dl_aux_init(Elf64_auxv_t* auxiliary);
void __tunables_init(char** environment);
void _dl_relocate_static_pie();
void __libc_setup_tls();
void __libc_early_init(bool initial);
void __libc_init_first(int argc, char** argv, char** environment);
void __libc_check_standard_fds();
int __cxa_atexit(void (*function)(void*), void* argument, void* object);
[[noreturn]] void exit(int code);

// What memcpy() and memset() go by; glibc's own values for a processor it does not know.
extern long __x86_data_cache_size_half, __x86_data_cache_size, __x86_shared_cache_size_half, __x86_shared_cache_size;
extern long __x86_shared_non_temporal_threshold, __x86_rep_movsb_threshold, __x86_rep_stosb_threshold;
extern long __x86_rep_movsb_stop_threshold;
extern int __x86_string_control;
long __x86_data_cache_size_half = 32 * 1024 / 2;
long __x86_data_cache_size = 32 * 1024;
long __x86_shared_cache_size_half = 1024 * 1024 / 2;
long __x86_shared_cache_size = 1024 * 1024;
long __x86_shared_non_temporal_threshold = 1024 * 1024 * 3 / 4;
long __x86_rep_movsb_threshold = 2048;
long __x86_rep_stosb_threshold = 2048;
long __x86_rep_movsb_stop_threshold = 1024 * 1024 * 3 / 4;
int __x86_string_control = 0;

}  // extern "C"

namespace {

void call_finalisers(void*) {
  for (std::ptrdiff_t i = __fini_array_end - __fini_array_start; i > 0; --i) __fini_array_start[i - 1]();
  _fini();
}

void call_initialisers(int argc, char** argv) {
  for (auto* each = __preinit_array_start; each < __preinit_array_end; ++each) (*each)(argc, argv, __environ);
  _init();
  for (auto* each = __init_array_start; each < __init_array_end; ++each) (*each)(argc, argv, __environ);
}

// Which memcpy() and so on is called: each resolver answers with an address. Before this nothing may call one.
void choose_functions() {
  for (const auto* entry = __rela_iplt_start; entry < __rela_iplt_end; ++entry) {
    const auto resolver = reinterpret_cast<std::uint64_t (*)()>(entry->r_addend);
    *reinterpret_cast<std::uint64_t*>(entry->r_offset) = resolver();
  }
}

}  // namespace

// Its own frame cannot be guarded: the guard's value is set on the way.
extern "C" __attribute__((no_stack_protector)) int __libc_start_main(int (*main)(int, char**, char**), int argc,
                                                                     char** argv, Finaliser*, Finaliser*,
                                                                     Finaliser* loader_end, void* stack_end) {
  __environ = argv + argc + 1;
  __libc_stack_end = stack_end;
  char** end = __environ;
  while (*end != nullptr) ++end;
  _dl_aux_init(reinterpret_cast<Elf64_auxv_t*>(end + 1));
  __tunables_init(__environ);
  _dl_relocate_static_pie();
  choose_functions();
  __libc_setup_tls();
  const auto* random = static_cast<const std::uint64_t*>(_dl_random);
  // tcbhead_t: stack_guard (its lowest byte, the first in memory, ends strings) and pointer_guard.
  asm volatile("movq %0, %%fs:0x28" : : "r"(random[0] & ~std::uint64_t{0xff}) : "memory");
  asm volatile("movq %0, %%fs:0x30" : : "r"(random[1]) : "memory");
  if (loader_end != nullptr) __cxa_atexit(reinterpret_cast<void (*)(void*)>(loader_end), nullptr, nullptr);
  __libc_early_init(true);
  __libc_init_first(argc, argv, __environ);
  __cxa_atexit(call_finalisers, nullptr, nullptr);
  if (__libc_enable_secure != 0) __libc_check_standard_fds();
  call_initialisers(argc, argv);
  exit(main(argc, argv, __environ));
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)
