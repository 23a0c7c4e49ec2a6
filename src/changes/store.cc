#include "changes/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"

namespace weir::changes {
namespace {

constexpr std::string_view kManifestEnd = ".json";
constexpr std::string_view kContentsEnd = ".data";

struct Run {
  std::pair<std::time_t, long> written;
  std::string sandbox;
};

// Names in the store with that end, newest first.
std::vector<Run> runs_in(const std::string& folder, std::string_view end) {
  const sys::Folder open(::opendir(folder.c_str()));
  std::vector<Run> runs;
  while (const dirent* entry = open ? sys::next_entry(open) : nullptr) {
    const std::string_view name = entry->d_name;
    struct stat status{};
    if (!name.starts_with("w-") || !name.ends_with(end) ||
        ::fstatat(::dirfd(open.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
      continue;
    runs.push_back({.written = {status.st_mtim.tv_sec, status.st_mtim.tv_nsec},
                    .sandbox = std::string(name.substr(0, name.size() - end.size()))});
  }
  std::ranges::sort(runs, std::ranges::greater(), &Run::written);
  return runs;
}

// Whoever wrote it decides which folder is written to: nobody but the caller.
Result<sys::OwnedFd> open_own(const std::string& path) {
  WEIR_TRY(sys::OwnedFd fd, sys::checked_fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC),
                                            "cannot open " + path));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return sys::errno_error("cannot look at " + path);
  if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid()) return fail(path + ": not a file of yours");
  return fd;
}

Result<Manifest> read_manifest(const std::string& path) {
  WEIR_TRY(const sys::OwnedFd file, open_own(path));
  WEIR_TRY(const std::string text, sys::read_open_file(file, path, kMaxManifest));
  return in_context(parse_manifest(text), path);
}

// False: somebody has it in use.
bool remove_run(const Places& places) {
  const sys::OwnedFd contents(::open(places.contents.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (contents.valid() && !hold(contents)) return false;
  ::unlink(places.manifest.c_str());
  ::unlink(places.contents.c_str());
  return true;
}

}  // namespace

bool hold(const sys::OwnedFd& contents) {
  return ::flock(contents.get(), LOCK_EX | LOCK_NB) == 0;
}

void sweep_store(const std::string& folder, std::time_t now) {
  const std::vector<Run> runs = runs_in(folder, kManifestEnd);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (i >= kMaxKeptRuns || runs[i].written.first < now - kMaxKeptSeconds) remove_run({folder, runs[i].sandbox});
  }
  for (const Run& run : runs_in(folder, kContentsEnd)) {
    const Places places(folder, run.sandbox);
    if (::access(places.manifest.c_str(), F_OK) != 0) remove_run(places);
  }
}

Result<Kept> open_kept(const std::string& folder, const std::string& sandbox) {
  const Places places(folder, sandbox);
  if (::access(places.manifest.c_str(), F_OK) != 0 && errno == ENOENT) {
    return std::unexpected(Error("nothing is kept of " + sandbox)
                               .with_remedy("weir run --here=overlay --keep-changes keeps what a command changes"));
  }
  Kept kept;
  WEIR_TRY(kept.contents, open_own(places.contents));
  if (!hold(kept.contents)) {
    return std::unexpected(
        Error("the changes of " + sandbox + " are in use").with_remedy("wait for the other weir diff or weir apply"));
  }
  WEIR_TRY(kept.manifest, read_manifest(places.manifest));
  return kept;
}

Result<std::string> last_kept(const std::string& folder, const std::string& called_in) {
  for (const Run& run : runs_in(folder, kManifestEnd)) {
    const auto manifest = read_manifest(Places(folder, run.sandbox).manifest);
    // Damage of another run is that run's.
    if (!manifest) continue;
    const bool shared =
        std::ranges::any_of(manifest->shares, [&](const KeptShare& share) { return share.source == called_in; });
    if (shared || manifest->folder == called_in) return run.sandbox;
  }
  return std::unexpected(Error("nothing is kept of a run in " + called_in)
                             .with_remedy("weir run --here=overlay --keep-changes keeps what a command changes"));
}

Result<> discard_kept(const std::string& folder, const std::string& sandbox) {
  const Places places(folder, sandbox);
  if (::access(places.manifest.c_str(), F_OK) != 0) return fail("nothing is kept of " + sandbox);
  if (remove_run(places)) return {};
  return fail("the changes of " + sandbox + " are in use");
}

}  // namespace weir::changes
