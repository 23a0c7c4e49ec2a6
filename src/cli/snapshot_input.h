// Which snapshot a command line means, and what a sandbox takes from it.
#pragma once

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "cli/command.h"
#include "cli/image_input.h"
#include "image/snapshot/store.h"
#include "supervisor/run_options.h"

namespace weir::cli {

// The value of --insist that opens a snapshot under a wider mode than it was written under.
inline constexpr std::string_view kInsistTaint = "taint";

// Error::code() of what a taint stands against.
inline constexpr int kTaintCode = EXDEV;

// The caller's store of snapshots.
Result<image::Snapshots> snapshot_store(const Caller& caller);

// What --snapshot or --template name. Nothing at all: the host's programs.
struct SnapshotChoice {
  std::shared_ptr<const image::SnapshotLease> lease;
  std::optional<std::string> image;  // the name of a stored image that lies below, or that the template is
};
Result<SnapshotChoice> choose_snapshot(const CommandLine& line, const Caller& caller);
// By id or name, in use from here on.
Result<SnapshotChoice> choose_stored(const image::Snapshots& store, const std::string& which);
// Its layers become the sandbox's; it has a lease.
void take_layers(const SnapshotChoice& choice, supervisor::RunOptions& options);

// The layers, and the lease that keeps them. `mode`: of the sandbox, as policies spell it. An error where files that
// were written without a way out would get one.
Result<> plan_snapshot(const CommandLine& line, const SnapshotChoice& choice, std::string_view mode,
                       supervisor::RunOptions& options);

// What snapshots of a session begin with, and where they are kept. After unpack_for_run().
void plan_snapshots_of_session(const Caller& caller, const SnapshotChoice& choice,
                               const std::optional<ImageChoice>& image, supervisor::RunOptions& options);

// The image has to be the one that the snapshot was made over.
Result<> check_base(const SnapshotChoice& choice, const ImageChoice& image);

}  // namespace weir::cli
