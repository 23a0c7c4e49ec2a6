#include "image/blobs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/failure_line.h"
#include "image/limits.h"
#include "image/streams.h"
#include "sys/errno.h"
#include "sys/open_resolved.h"
#include "wire/tar.h"

namespace weir::image {

Result<Blob> FolderBlobs::open(const std::string& name) {
  current_ = sys::open_resolved(folder_, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, sys::kBeneath | RESOLVE_NO_XDEV);
  if (!current_.valid()) return sys::errno_error("cannot open " + printable(name) + " of the image");
  struct stat status{};
  if (::fstat(current_.get(), &status) != 0) return sys::errno_error("cannot look at " + printable(name));
  if (!S_ISREG(status.st_mode)) return fail(printable(name) + " of the image is no regular file");
  return Blob{.fd = current_.get(), .offset = 0, .size = static_cast<std::uint64_t>(status.st_size)};
}

Result<std::unique_ptr<ArchiveBlobs>> ArchiveBlobs::index(int fd, std::uint64_t size) {
  auto blobs = std::make_unique<ArchiveBlobs>();
  FileStream file(fd, 0, size);
  wire::TarReader archive(file);
  while (true) {
    WEIR_TRY(const std::optional<wire::TarEntry> entry, archive.next());
    if (!entry) return blobs;
    // Old docker archives hold links between equal layers; what is a link here is not found below.
    if (entry->type != wire::TarEntry::Type::file) continue;
    const Blob blob{.fd = fd, .offset = archive.offset(), .size = entry->size};
    if (!blobs->members_.emplace(entry->path, blob).second)
      return fail("entry '" + printable(entry->path) + "' comes twice: which one is meant?");
    if (blobs->members_.size() > kMaxArchiveMembers)
      return fail("more than " + std::to_string(kMaxArchiveMembers) + " files in an image archive");
  }
}

Result<Blob> ArchiveBlobs::open(const std::string& name) {
  const auto found = members_.find(name);
  if (found == members_.end())
    return fail("cannot open " + printable(name) + " of the image: " + sys::errno_text(ENOENT), ENOENT);
  return found->second;
}

}  // namespace weir::image
