// The memory that the program's own code takes, and what its heap keeps in reserve.
#pragma once

namespace weir::sys {

// A command that still runs then is likely to run for long, and most of what the start needed is not needed again.
// Earlier it would cost most starts more than it saves; a sandbox counts some 1.4 MiB until then.
constexpr int kSettledMs = 1000;

// Lets go of the pages of this program's code and constants, and of free heap. The pages stay in the kernel's file
// cache, and what is used again is mapped again, one fault for sixteen pages; what was only used once is not counted
// for this process any more.
void forget_program_pages();

}  // namespace weir::sys
