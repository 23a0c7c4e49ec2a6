// The gateway process: parses what the guest sends and moves bytes; decides nothing and owns no right to dial.
#pragma once

#include <cstddef>

namespace weir::gateway {

// The name under which the program runs as gateway (argv[0]).
inline constexpr const char* kProgramName = "weir-gateway";

// Its descriptors: what it has is all it will ever be given, except connected sockets.
inline constexpr int kControl = 3;   // the channel to the supervisor
inline constexpr int kListener = 4;  // the capture listener
inline constexpr int kTun = 5;       // weir0
inline constexpr int kPolicy = 6;    // the compiled policy

// Descriptors that it may have open at a time besides two for each flow: whoever bounds its flows leaves them room.
std::size_t descriptors_besides_flows();

// main() of that process. Returns the exit code when the supervisor has said its last word and everything the guest had
// sent is delivered.
int run();

}  // namespace weir::gateway
