#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace weir {

void bug(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "weir: bug: %s does not hold (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace weir
