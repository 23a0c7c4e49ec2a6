// The seam between the command line and the supervisor: everything `weir run` was told, already checked.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audit/tally.h"
#include "image/snapshot/store.h"
#include "image/store.h"
#include "net/ip_address.h"
#include "policy/compiled/image.h"
#include "policy/text/compile.h"
#include "sandbox/limits/limits.h"
#include "sandbox/spec.h"
#include "sys/owned_fd.h"

namespace weir::supervisor {

// Where the audit stream goes (--events).
struct EventsSink {
  enum class Kind : std::uint8_t {
    default_file,     // a bounded file per sandbox under the user's state folder
    file,             // `path`, appended to
    standard_output,  // "-": the caller's descriptor 1, beside the output of the command
    none,             // no stream; the summary at exit still counts
  };
  Kind kind = Kind::default_file;
  std::string path;  // absolute; only for Kind::file
};

// What weir itself says on stderr besides its own failure, which is always said.
enum class Verbosity : std::uint8_t {
  quiet,   // -q: no start notices, no summary
  normal,  // start notices, and the refusals at exit
  debug,   // --debug: also each step of start and end
};

// How the summary at exit is written (-o). One JSON object on one line of stderr for json.
enum class SummaryFormat : std::uint8_t { text, json };

// How far the policy of a sandbox has come: further than the start for a session that slept.
struct PolicyStage {
  std::uint64_t generation = 1;
  bool entered_after = false;
};

struct RunOptions {
  sandbox::Spec spec;

  // Said instead of "No such file or directory" when there is no such program as spec.argv names.
  std::optional<Error> program_missing;

  // Keeps the files of spec.image in place until the run has ended; nullptr without one.
  std::shared_ptr<image::Lease> image;
  // The same for the snapshot that spec.layers are of.
  std::shared_ptr<const image::SnapshotLease> snapshot;
  // Of a session: where its snapshots are kept, and what one of it begins with: base, layers, taint and parent.
  // `no_snapshots`: why there are none; empty: there are.
  std::string snapshots_folder;
  image::Snapshot begun_from;
  std::string no_snapshots;

  // A compiled policy (policy::Image). Empty exactly when spec.network is not Network::captured and nothing is
  // published: such a run has no gateway.
  std::vector<std::uint8_t> policy_image;
  // The same as a sealed memory file, instead: a policy that was compiled before goes from its file to the gateway
  // without another copy.
  std::shared_ptr<const sys::OwnedFd> policy_file;
  // For events: the hash of the image (of the mode's name where there is no image), and the mode as policy.md spells
  // it.
  std::string policy_hash;
  std::string policy_mode;
  // Hash of /etc/weir/floor.toml for the start event; empty when the machine has none.
  std::string floor_hash;
  // The policy's published ports; spec.published says whether there are any.
  std::vector<policy::Publish> publishes;
  // The policy's upstream proxies.
  std::vector<policy::EgressProxy> egress_proxies;
  // dns.upstream of the policy, in order; empty: what the host's resolv.conf says.
  std::vector<net::Endpoint> dns_upstreams;

  // [after] or --after; with a command spec.seals says whether there is one. What lives on has no command that could
  // hold the descriptor: weir seal and --sensitive enter it.
  std::optional<policy::Narrowing> after;
  PolicyStage stage = {};

  // --sensitive: files and folders of shares, absolute, links resolved; only with `after`.
  std::vector<std::string> sensitive;

  // --control: where the owner may speak to the sandbox while it runs; absolute. Empty: nowhere, as always where
  // spec.network is not Network::captured.
  std::string control_path;

  // --dry-run: what holds each of spec.limits here.
  std::vector<sandbox::LimitLine> limit_lines;

  // Whole lines without a newline and without "weir: " in front, for stderr before the command starts: what was
  // insisted on, which soft floors were opened, which mode replaced the file's. Verbosity::quiet leaves them out.
  std::vector<std::string> start_notices;
  // The name the user gave (--name), else spec.id; one label of printable ASCII.
  std::string name;

  EventsSink events;
  // --receipt: the page for people; beside it the same as JSON, with ".json" behind the name. Absolute; empty: none.
  std::string receipt;
  // --keep-changes: the folder in which what was written into overlays is kept. Absolute; empty: it is not.
  std::string changes_folder;
  std::string called_in;  // the caller's folder, for finding them again
  // Called when everything inside has ended, with what the run came to; empty: nothing is to be done. What it returns
  // goes to standard output; its error is weir's own failure.
  std::function<Result<std::string>(const audit::Tally&)> afterwards;
  // From the first instruction of the command; nothing: no limit.
  std::optional<std::chrono::milliseconds> timeout;
  // Between asking the command to end (the timeout, a signal to weir) and ending it.
  std::chrono::milliseconds grace = std::chrono::seconds(2);
  Verbosity verbosity = Verbosity::normal;
  SummaryFormat summary = SummaryFormat::text;
};

// Exit codes that are weir's and not the command's.
inline constexpr int kExitTimeout = 124;
inline constexpr int kExitOwnFailure = 125;
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNotFound = 127;

// Starts the sandbox, runs it to its end, tears it down. Returns the exit code of `weir`: the command's, 128+n when
// signal n ended it, or one of the constants above, after writing the one line that explains it to stderr.
int run(RunOptions options);

}  // namespace weir::supervisor
