#include "image/snapshot/written_archive.h"

#include <unistd.h>

#include <array>
#include <cerrno>

#include "image/confined.h"
#include "image/snapshot/layer_writer.h"
#include "sys/errno.h"
#include "wire/tar_writer.h"

namespace weir::image {
namespace {

Result<> write(int to, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(to, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    // Who reads has given up, and says why.
    if (done < 0 && errno == EPIPE) return fail("");
    if (done < 0) return sys::errno_error("cannot hand over what was written");
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return {};
}

Result<> write_entries(const WrittenTree& tree, int to) {
  WrittenEntries entries(tree, kLayerLimits);
  std::vector<std::uint8_t> buffer(256 * 1024);
  while (true) {
    WEIR_TRY(const auto entry, entries.next());
    if (!entry && entries.left_out().names > 0)
      return fail(std::to_string(entries.left_out().names) +
                  " names cannot be kept: too long, nested too deeply, or beginning with .wh.");
    if (!entry) return write(to, as_bytes(wire::tar_end()));
    WEIR_CHECK_OK(write(to, as_bytes(wire::tar_headers(*entry))));
    std::uint64_t size = 0;
    while (entry->type == wire::TarEntry::Type::file && entry->size > 0) {
      WEIR_TRY(const std::size_t got, entries.read(buffer));
      if (got == 0) break;
      WEIR_CHECK_OK(write(to, Bytes(buffer).first(got)));
      size += got;
    }
    if (size != entry->size) return fail(wire::quoted_path(entry->path) + ": it changed while it was read");
    WEIR_CHECK_OK(write(to, as_bytes(wire::tar_padding(size))));
  }
}

}  // namespace

Result<> write_written(const WrittenTree& tree, const Ids& ids, int to) {
  const auto work = [&](const Source& source, const sys::OwnedFd&, int output) -> Result<std::string> {
    WrittenTree seen = tree;
    seen.folder = source.fd.get();
    WEIR_CHECK_OK(write_entries(seen, output));
    return std::string();
  };
  WEIR_TRY(const std::string nothing, work_confined({.folder = tree.folder}, "", ids, to, work));
  static_cast<void>(nothing);
  return {};
}

}  // namespace weir::image
