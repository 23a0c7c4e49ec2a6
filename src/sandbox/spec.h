// What a sandbox shall be: plain values, checked before anything starts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/network/capture.h"
#include "sys/id_maps.h"

namespace weir::sandbox {

// A host folder or file made visible inside (-v, --here).
struct Share {
  enum class Access : std::uint8_t { read_write, read_only, copy, overlay };

  std::string source;  // absolute host path, links resolved
  std::string target;  // absolute path inside
  Access access = Access::read_write;
  // Paths below the target, relative, that stay read-only whatever `access` says (--here: .git/hooks, .envrc, ...).
  std::vector<std::string> read_only_below;
  // Spec::over_session: instead of `source`, what that session has mounted at the target.
  enum class Of : std::uint8_t { host, session } of = Of::host;
};

// The environment variable that says which descriptor a byte is written to.
inline constexpr const char* kSealVariable = "WEIR_SEAL";
inline constexpr int kSealDescriptor = 3;

enum class Network : std::uint8_t {
  loopback,  // modes none and inbound
  captured,  // every gateway mode
  host,      // --net host: no network namespace at all
};

// Who the command runs as, inside.
struct User {
  std::uint32_t uid = 1000;
  std::uint32_t gid = 1000;
  std::string name = "sandbox";
  std::string home = "/home/sandbox";
};

// A root file system of its own instead of the host's programs (--image). It is never written.
struct ImageRoot {
  std::string name;    // for messages
  std::string folder;  // absolute host path, links resolved
  // Started by root: the id on disk that is 0 inside; 65,536 follow.
  std::uint32_t first_id = 0;
  // Started by an ordinary user: the ids that own the files, from /etc/subuid. Empty: one user owns everything.
  std::optional<sys::IdMaps> delegated;
};

// Files over the root's programs, or over the image: what a session before left. Never written.
struct LayerRoot {
  std::string folder;          // absolute host path, links resolved
  std::uint32_t first_id = 0;  // as ImageRoot's
};

// Where weir puts the file of `weir script`, inside.
inline constexpr const char* kScriptFolder = "/run/weir/script";
// A file there that is root's and that everybody may read.
struct ScriptFile {
  std::string name;  // one part of a path
  std::string content;
};

// What everything inside may use together; unset: no limit of weir's own.
struct Limits {
  std::optional<std::uint64_t> memory_bytes = {};
  std::optional<std::uint32_t> cpu_millis = {};  // thousandths of a processor
  std::optional<std::uint32_t> processes = {};   // and threads
  std::optional<std::uint64_t> disk_bytes = {};  // what is written outside of shares

  bool any() const { return memory_bytes || cpu_millis || processes || disk_bytes; }
};

struct Spec {
  std::string id;  // unique on this machine, e.g. "w-3f9a1c27"
  std::string hostname = "weir";
  std::vector<std::string> argv;                         // empty only where it lives on
  std::vector<std::pair<std::string, std::string>> env;  // complete: nothing is inherited
  std::string workdir;                                   // inside; empty: the user's home
  User user;
  std::vector<Share> shares;
  std::vector<std::string> tools;  // absolute host paths (--tool): visible read-only, on PATH
  std::optional<ImageRoot> image;
  std::vector<LayerRoot> layers;  // top first; at most kMaxLayers
  // The root lies over all that another sandbox, which lives on, has as its own (Sandbox::prepare_over()): no layers
  // then, and `image` says only what is found there.
  bool over_session = false;
  std::optional<ScriptFile> script;
  Network network = Network::loopback;
  CaptureAddresses addresses;
  Limits limits;
  bool terminal = false;      // -t: a terminal of its own
  bool shows_layers = false;  // Sandbox::take_layers() gives what overlays keep
  bool lives_on = false;      // no command of its own: Sandbox::serve_inside() starts processes until it is killed
  bool published = false;     // init opens sockets for published ports
  bool seals = false;         // the command has a descriptor to say so: kSealVariable names it, take_seal() hears it
};

}  // namespace weir::sandbox
