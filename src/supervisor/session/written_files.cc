#include "supervisor/session/written_files.h"

#include "sandbox/root/image_root.h"

namespace weir::supervisor {
namespace {

image::Ids ids_of(const sandbox::Identity& identity) {
  using Kind = sandbox::Identity::Kind;
  image::Ids ids{.kind = image::Ids::Kind::one, .maps = identity.maps()};
  if (identity.kind() == Kind::range) ids.kind = image::Ids::Kind::root;
  if (identity.kind() == Kind::delegated) ids.kind = image::Ids::Kind::subids;
  // Root of the process that copies, whoever the sandbox's user is.
  if (identity.kind() == Kind::own_id) ids.maps.uids.front().inside = ids.maps.gids.front().inside = 0;
  return ids;
}

}  // namespace

Result<WrittenFiles> WrittenFiles::of(sandbox::Sandbox& sandbox, const sandbox::Spec& spec) {
  WrittenFiles written{.folder = sandbox.take_written(), .tree = {}, .ids = ids_of(sandbox.identity())};
  image::WrittenTree& tree = written.tree;
  tree.folder = written.folder.get();
  if (sandbox::is_layered(spec)) tree.kind = image::WrittenTree::Kind::upper;
  WEIR_TRY(tree.baseline, image::Baseline::of(tree.folder));
  for (const sandbox::Share& share : spec.shares) tree.shared.push_back(share.target);
  tree.shared.insert(tree.shared.end(), spec.tools.begin(), spec.tools.end());
  if (written.ids.kind == image::Ids::Kind::one) tree.one_owner = {.uid = spec.user.uid, .gid = spec.user.gid};
  return written;
}

}  // namespace weir::supervisor
