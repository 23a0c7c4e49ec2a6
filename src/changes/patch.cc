#include "changes/patch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "base/failure_line.h"
#include "changes/text_diff.h"
#include "sys/mounts.h"
#include "sys/open_resolved.h"

namespace weir::changes {
namespace {

// Nothing: not a file, or too large a one.
std::optional<std::string> read_span(int fd, std::uint64_t offset, std::uint64_t bytes) {
  if (bytes > kMaxDiffBytes) return std::nullopt;
  std::string text(bytes, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = ::pread(fd, text.data() + done, text.size() - done, static_cast<off_t>(offset + done));
    if (got <= 0) return std::nullopt;
    done += static_cast<std::size_t>(got);
  }
  return text;
}

std::optional<std::string> text_here(const std::string& source, const std::string& path) {
  const auto root = sys::open_without_links(source);
  if (!root) return std::nullopt;
  const sys::OwnedFd file =
      sys::open_resolved(root->get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY, sys::kBeneath | RESOLVE_NO_XDEV);
  if (!file.valid()) return errno == ENOENT ? std::optional(std::string()) : std::nullopt;
  struct stat status{};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return read_span(file.get(), 0, static_cast<std::uint64_t>(status.st_size));
}

}  // namespace

std::string patch_of(const Manifest& manifest, const KeptEntry& entry, const sys::OwnedFd& contents) {
  const LayerChange& change = entry.change;
  if (change.type != LayerChange::Type::file || !entry.not_kept.empty()) return "";
  const bool gone = change.kind == LayerChange::Kind::deleted;
  const auto before = text_here(manifest.shares[entry.share].source, change.path);
  const auto after = gone ? std::optional(std::string()) : read_span(contents.get(), entry.offset, change.bytes);
  const std::string name = printable(change.path);
  const auto difference = before && after ? unified_diff(*before, *after) : std::nullopt;
  if (!difference) return name + ": no text, or too large to be compared\n";
  if (difference->empty()) return "";
  return "--- " + (change.kind == LayerChange::Kind::added ? "/dev/null" : "a/" + name) + "\n+++ " +
         (gone ? "/dev/null" : "b/" + name) + "\n" + *difference;
}

}  // namespace weir::changes
