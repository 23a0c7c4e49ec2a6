// Snapshots in and out of the store as files.
#include <fcntl.h>
#include <unistd.h>

#include "image/confined.h"
#include "image/snapshot/archive.h"
#include "image/snapshot/store.h"
#include "image/store_folder.h"
#include "image/streams.h"
#include "sys/files.h"

namespace weir::image {
namespace {

using wire::ByteStream;

// What `read` makes of the archive, compressed or not, in the confined process.
ConfinedWork reading(const std::function<Result<std::string>(ByteStream&, sys::OwnedFd root, int output)>& read) {
  return [read](const Source& source, sys::OwnedFd root, int output) -> Result<std::string> {
    FileStream file(source.fd.get(), 0, source.size);
    WEIR_TRY(const auto plain, decompressed(file));
    return read(*plain, std::move(root), output);
  };
}

}  // namespace

Result<Snapshot> Snapshots::write_archive(std::string_view which, int to) const {
  WEIR_TRY(const SnapshotLease lease, use(which));
  Snapshot about = lease.snapshot();
  about.kept_by.clear();
  WEIR_CHECK_OK(write_description(about, to));
  for (const SnapshotLayer& layer : lease.snapshot().layers) {
    const std::string folder = layer_folder(layer.digest);
    WEIR_TRY(const std::string text, sys::read_file(folder + "/ids", 256));
    WEIR_TRY(const Ids ids, ids_of_stored(text, ids_));
    WEIR_TRY(const std::string manifest, sys::read_file(folder + "/manifest", wire::kMaxLayerManifest));
    WEIR_TRY(const sys::OwnedFd tree, open_folder(folder + "/tree"));
    const auto work = [&](const Source& source, const sys::OwnedFd&, int output) -> Result<std::string> {
      WEIR_CHECK_OK(write_layer_members(layer.digest, manifest, source.fd.get(), output));
      return std::string();
    };
    WEIR_TRY(const std::string nothing, work_confined({.folder = tree.get()}, "", ids, to, work));
    static_cast<void>(nothing);
  }
  WEIR_CHECK_OK(write_end(to));
  return lease.snapshot();
}

Result<Snapshot> Snapshots::read_archive(const std::string& file, const NewNames& names) {
  const auto description =
      reading([](ByteStream& archive, const sys::OwnedFd&, int) { return read_description(archive); });
  WEIR_TRY(const std::string text, work_confined({.file = file}, "", ids_, -1, description));
  WEIR_TRY(Snapshot snapshot, parse_snapshot(text));
  snapshot.kept_by.clear();  // it is the importer's, whatever the file says
  if (!names.name.empty() || !names.id.empty()) snapshot.name = names.name;
  snapshot.id = names.id;
  if (!snapshot.name.empty() && show(snapshot.name)) {
    return std::unexpected(Error("there is a snapshot '" + snapshot.name + "' already", EEXIST)
                               .with_remedy("give it another name: --name NAME"));
  }
  // Over the host's programs a sandbox of an ordinary user has one id.
  WEIR_TRY(const Ids ids, snapshot.base.image.empty() && ids_.kind == Ids::Kind::subids ? ids_of_stored("one", ids_)
                                                                                        : Result<Ids>(ids_));
  std::vector<Begun> layers;
  Result<> done;
  for (std::size_t i = 0; i < snapshot.layers.size() && done; ++i)
    done = read_layer_into(file, snapshot, i, ids, layers);
  for (std::size_t i = 0; i < layers.size() && done; ++i) snapshot.layers[i] = layers[i].layer;
  if (done) done = commit(layers, snapshot);
  if (!done) {
    for (const Begun& each : layers) {
      if (!each.folder.empty()) static_cast<void>(discard(each.folder));
    }
    return std::unexpected(std::move(done).error().context(file));
  }
  return snapshot;
}

// Also a layer that is in the store: the file is to be what it says, as a whole.
Result<> Snapshots::read_layer_into(const std::string& file, const Snapshot& snapshot, std::size_t number,
                                    const Ids& ids, std::vector<Begun>& layers) {
  WEIR_TRY(Begun fresh, begin(ids));
  Begun& begun = layers.emplace_back(std::move(fresh));
  const auto work = reading([&](ByteStream& archive, sys::OwnedFd root, int output) -> Result<std::string> {
    WEIR_TRY(const LayerTally tally, read_layer(archive, snapshot, number, std::move(root), ids.owners(), output));
    return encode(tally);
  });
  WEIR_TRY(const std::string text,
           work_confined({.file = file}, begun.folder + "/tree", ids, begun.manifest.get(), work));
  WEIR_TRY(const LayerTally tally, decode_layer_tally(text));
  WEIR_CHECK_OK(seal(begun, tally));
  if (begun.layer.digest == snapshot.layers[number].digest) return {};
  return fail("a layer is not what its digest says");
}

}  // namespace weir::image
