// spawn_rate [total=1] [parallel=1] [hold=1] -- COMMAND...
//
// Starts a command as a shell would, without copying this process, and measures start to end.
#include <spawn.h>
#include <string.h>
#include <unistd.h>

#include "starts.h"

int main(int argc, char** argv) {
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv);
  run_starts(arguments, [&arguments] {
    pid_t pid = 0;
    const int error = ::posix_spawnp(&pid, arguments.command[0], nullptr, nullptr, arguments.command.data(), environ);
    if (error != 0) die(std::string(arguments.command[0]) + ": " + ::strerror(error));
    return pid;
  });
}
