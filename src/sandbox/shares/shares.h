// Which host files may be shared, and how the options spell them.
//
// A share must not become a way around the network: a Unix socket in it leads to a process outside. And what a tool
// outside runs by itself - hooks, editor tasks, start-up files - must not be writable from inside.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sandbox/spec.h"

namespace weir::sandbox {

// Whoever shares: what the rules depend on. Empty strings for what is not set.
struct Sharer {
  std::string folder;                                                                // the current folder, absolute
  std::string home;                                                                  // $HOME
  std::string runtime_folder;                                                        // $XDG_RUNTIME_DIR
  enum class Sockets : std::uint8_t { refused, shared } sockets = Sockets::refused;  // --share-sockets
};

// -v SRC:DST[:ro|:copy|:overlay]. SRC may be relative to the current folder and must exist; DST is absolute. Looks at
// SRC, and in rw and ro form below it for sockets; changes nothing.
Result<Share> parse_share(std::string_view text, const Sharer& sharer);

// --here[=ro|overlay|rw-all]: the current folder at its own path. `form` is empty for plain --here. The command starts
// there (Share::target) unless it is told otherwise.
Result<Share> share_here(std::string_view form, const Sharer& sharer);

// Whether the source may be shared at all in that form: not the machine's own folders, no sockets.
Result<> check_source(const Share& share, const Sharer& sharer);

// After all of them are known: no two on one place.
Result<> check_shares(const std::vector<Share>& shares);

// Entries looked at for sockets, below which a folder counts as searched; a share with more is refused like one with
// a socket.
inline constexpr std::size_t kMaxSocketSearch = 200'000;

}  // namespace weir::sandbox
