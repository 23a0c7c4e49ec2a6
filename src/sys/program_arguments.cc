#include "sys/program_arguments.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cstddef>

namespace weir::sys {

// The kernel puts both, in this order, between argv[0] and the name of the executed file.
void erase_program_arguments(Erased what) {
  char* const first = program_invocation_name;
  const auto* end = reinterpret_cast<const char*>(::getauxval(AT_EXECFN));
  if (first == nullptr || end == nullptr || first >= end) return;
  if (what == Erased::environment) {
    ::explicit_bzero(first, static_cast<std::size_t>(end - first));
    return;
  }
  // Variables that were set since lie elsewhere.
  const char* variables = end;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (*entry > first && *entry < variables) variables = *entry;
  }
  char* const second = first + ::strlen(first) + 1;
  if (second < variables) ::explicit_bzero(second, static_cast<std::size_t>(variables - second));
}

}  // namespace weir::sys
