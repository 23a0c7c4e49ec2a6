// The gateway process: parses what the guest sends and moves bytes; decides nothing and owns no right to dial.
#pragma once

namespace weir::gateway {

// main() of the process that runs as weir-gateway. Its descriptors (supervisor/gateway_process.h): 3 the channel to the
// supervisor, 4 the capture listener, 5 weir0, 6 the compiled policy. Returns the exit code when the supervisor has
// said its last word and everything the guest had sent is delivered.
int run();

}  // namespace weir::gateway
