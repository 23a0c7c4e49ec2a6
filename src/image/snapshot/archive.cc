#include "image/snapshot/archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/sha256.h"
#include "sys/errno.h"
#include "sys/open_resolved.h"
#include "wire/layer_manifest.h"
#include "wire/tar.h"
#include "wire/tar_writer.h"

namespace weir::image {
namespace {

using wire::LayerEntry;
using wire::TarEntry;

constexpr std::string_view kDescription = "weir-snapshot";

std::string manifest_name(const std::string& digest) {
  return "layers/" + digest + "/manifest";
}
std::string file_name(const std::string& digest, std::size_t number) {
  return "layers/" + digest + "/files/" + std::to_string(number);
}

std::unexpected<Error> unlike_a_snapshot(const std::string& why) {
  return std::unexpected(Error("not a snapshot, or a damaged one: " + why)
                             .with_remedy("make it with weir snapshot export, and get the whole file"));
}

Result<> write_all(int to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(to, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return sys::errno_error("cannot write the archive");
    text.remove_prefix(static_cast<std::size_t>(done));
  }
  return {};
}

Result<> write_member(const std::string& name, std::string_view content, int to) {
  WEIR_CHECK_OK(write_all(to, wire::tar_file_header(name, content.size())));
  WEIR_CHECK_OK(write_all(to, content));
  return write_all(to, wire::tar_padding(content.size()));
}

Result<> write_file(const LayerEntry& line, const std::string& name, int tree, int to) {
  const std::string what = wire::quoted_path(line.path) + " of the layer";
  const sys::OwnedFd file =
      sys::open_resolved(tree, line.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, sys::kBeneath | RESOLVE_NO_XDEV);
  struct stat status{};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) return sys::errno_error("cannot read " + what);
  if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) != line.size)
    return fail(what + " is not what its manifest says");
  WEIR_CHECK_OK(write_all(to, wire::tar_file_header(name, line.size)));
  FileStream content(file.get(), 0, line.size);
  std::array<std::uint8_t, 256 * 1024> buffer;
  while (true) {
    WEIR_TRY(const std::size_t got, content.read(buffer));
    if (got == 0) break;
    WEIR_CHECK_OK(write_all(to, as_text(Bytes(buffer).first(got))));
  }
  return write_all(to, wire::tar_padding(line.size));
}

Result<std::string> read_member(wire::TarReader& archive, const TarEntry& entry, std::size_t limit) {
  if (entry.type != TarEntry::Type::file || entry.size > limit)
    return unlike_a_snapshot(wire::quoted_path(entry.path) + " is too large, or no file");
  std::string text(entry.size, '\0');
  for (std::size_t have = 0; have < text.size();) {
    const auto into = MutableBytes(reinterpret_cast<std::uint8_t*>(text.data()), text.size()).subspan(have);
    WEIR_TRY(const std::size_t got, archive.read(into));
    if (got == 0) return unlike_a_snapshot(wire::quoted_path(entry.path) + " ends early");
    have += got;
  }
  return text;
}

// A member that must come next.
Result<TarEntry> expect(wire::TarReader& archive, const std::string& name) {
  WEIR_TRY(const std::optional<TarEntry> entry, archive.next());
  if (!entry || entry->path != name || entry->type != TarEntry::Type::file) {
    return unlike_a_snapshot("'" + name + "' is expected, " +
                             (entry ? wire::quoted_path(entry->path) : std::string("the end")) + " is there");
  }
  return *entry;
}

// Goes over the layers in front of the one that is wanted. What is in them is judged when they are read.
Result<> pass_layers(wire::TarReader& archive, const Snapshot& snapshot, std::size_t number) {
  for (std::size_t i = 0; i < number; ++i) {
    const std::string& digest = snapshot.layers[i].digest;
    WEIR_TRY(const TarEntry entry, expect(archive, manifest_name(digest)));
    WEIR_TRY(const std::string text, read_member(archive, entry, wire::kMaxLayerManifest));
    WEIR_TRY(const std::vector<LayerEntry> lines, wire::parse_layer_manifest(text));
    const auto files = static_cast<std::size_t>(std::ranges::count(lines, LayerEntry::Type::file, &LayerEntry::type));
    for (std::size_t file = 0; file < files; ++file) WEIR_CHECK_OK(expect(archive, file_name(digest, file)));
  }
  return {};
}

}  // namespace

Result<> write_description(const Snapshot& snapshot, int to) {
  return write_member(std::string(kDescription), snapshot_json(snapshot) + "\n", to);
}

Result<> write_layer_members(const std::string& digest, std::string_view manifest, int tree, int to) {
  WEIR_CHECK_OK(write_member(manifest_name(digest), manifest, to));
  WEIR_TRY(const std::vector<LayerEntry> lines, wire::parse_layer_manifest(manifest));
  std::size_t number = 0;
  for (const LayerEntry& line : lines) {
    if (line.type == LayerEntry::Type::file) WEIR_CHECK_OK(write_file(line, file_name(digest, number++), tree, to));
  }
  return {};
}

Result<> write_end(int to) {
  return write_all(to, wire::tar_end());
}

Result<std::string> read_description(wire::ByteStream& stream) {
  wire::TarReader archive(stream);
  WEIR_TRY(const TarEntry entry, expect(archive, std::string(kDescription)));
  return read_member(archive, entry, kMaxSnapshotText);
}

Result<LayerTally> read_layer(wire::ByteStream& stream, const Snapshot& snapshot, std::size_t number, sys::OwnedFd root,
                              Owners owners, int manifest) {
  wire::TarReader archive(stream);
  WEIR_CHECK_OK(expect(archive, std::string(kDescription)));
  WEIR_CHECK_OK(pass_layers(archive, snapshot, number));
  const std::string& digest = snapshot.layers[number].digest;
  WEIR_TRY(const TarEntry entry, expect(archive, manifest_name(digest)));
  WEIR_TRY(const std::string text, read_member(archive, entry, wire::kMaxLayerManifest));
  if (sha256_hex(as_bytes(text)) != digest) return unlike_a_snapshot("a layer is not what its digest says");
  WEIR_CHECK_OK(write_all(manifest, text));
  const NextContent content = [&](const LayerEntry& line, std::size_t file) -> Result<wire::ByteStream*> {
    WEIR_TRY(const TarEntry member, expect(archive, file_name(digest, file)));
    if (member.size != line.size) return unlike_a_snapshot(wire::quoted_path(line.path) + " has another size");
    return &archive;
  };
  WEIR_TRY(const LayerTally tally, restore_layer(text, content, std::move(root), owners));
  if (number + 1 < snapshot.layers.size()) return tally;
  WEIR_TRY(const std::optional<TarEntry> more, archive.next());
  if (more) return unlike_a_snapshot("more than its layers is in it");
  return tally;
}

}  // namespace weir::image
