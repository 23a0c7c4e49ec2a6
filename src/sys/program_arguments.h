// What /proc/PID/cmdline tells everybody of this process: arguments may hold secrets.
#pragma once

#include <cstdint>

namespace weir::sys {

enum class Erased : std::uint8_t {
  arguments,    // all but the first; the environment can still be asked for
  environment,  // and the environment, which lies behind them; getenv() finds nothing any more
};

// Overwrites them where the kernel put them (execve(2)); main()'s own pointers then lead to empty strings.
void erase_program_arguments(Erased what);

}  // namespace weir::sys
