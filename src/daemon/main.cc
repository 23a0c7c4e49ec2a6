// The program `weir-serve`: `weir serve` once its options are read.

#include <csignal>
#include <span>
#include <string>
#include <vector>

#include "base/failure_line.h"
#include "daemon/serve.h"
#include "sys/descriptor_limit.h"

namespace {

constexpr int kOwnFailure = 125;

}  // namespace

int main(int count, char** words) {
  // A pipe or a connection that nobody reads is an error value, not a death.
  std::signal(SIGPIPE, SIG_IGN);
  weir::sys::raise_descriptor_limit();
  const std::vector<std::string> arguments(words + (count > 0 ? 1 : 0), words + count);
  const auto served = weir::daemon::serve(arguments);
  if (served) return 0;
  const std::string line = weir::failure_line(served.error());
  static_cast<void>(!::fwrite(line.data(), 1, line.size(), stderr));
  return kOwnFailure;
}
