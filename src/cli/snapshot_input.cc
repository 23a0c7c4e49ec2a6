#include "cli/snapshot_input.h"

#include <unistd.h>

#include <algorithm>

#include "image/store_folder.h"
#include "image/templates.h"
#include "sandbox/identity.h"

namespace weir::cli {
namespace {

// A snapshot, an image, or a recipe; the caller's own before what ships.
Result<SnapshotChoice> choose_template(const std::string& name, const Caller& caller) {
  WEIR_TRY(const image::Snapshots store, snapshot_store(caller));
  const auto snapshot = store.show(name);
  WEIR_TRY(const image::Store images, image_store(caller));
  const bool is_image = images.use(name).has_value();
  if (snapshot && is_image) {
    return std::unexpected(Error("'" + name + "' is a snapshot and an image: which one is meant?")
                               .with_remedy("write --snapshot " + name + " or --image " + name));
  }
  if (snapshot) return choose_stored(store, name);
  if (is_image) return SnapshotChoice{.lease = {}, .image = name};
  if (snapshot.error().code() != ENOENT) return std::unexpected(snapshot.error());
  for (const image::Recipe& recipe : image::kRecipes) {
    if (name != recipe.name) continue;
    if (::access(recipe.needs, F_OK) == 0) continue;
    return std::unexpected(
        Error("template " + name + ": this machine has no " + recipe.needs, ENOENT).with_remedy(recipe.remedy));
  }
  if (image::ships_template(name)) return SnapshotChoice{};
  return std::unexpected(
      Error("there is no template '" + name + "': no snapshot and no image of that name, and none that ships", ENOENT)
          .with_remedy("weir snapshot ls and weir image ls list them; python and code-interpreter ship"));
}

}  // namespace

Result<SnapshotChoice> choose_stored(const image::Snapshots& store, const std::string& which) {
  WEIR_TRY(image::SnapshotLease lease, store.use(which));
  SnapshotChoice choice;
  if (!lease.snapshot().base.image.empty()) choice.image = lease.snapshot().base.image;
  choice.lease = std::make_shared<const image::SnapshotLease>(std::move(lease));
  return choice;
}

void take_layers(const SnapshotChoice& choice, supervisor::RunOptions& options) {
  for (const std::string& folder : choice.lease->layers()) {
    const std::uint32_t first =
        sandbox::Identity::kind_of_caller() == sandbox::Identity::Kind::range ? image::kStoredFirst : 0;
    options.spec.layers.push_back({.folder = folder, .first_id = first});
  }
  options.snapshot = choice.lease;
}

Result<image::Snapshots> snapshot_store(const Caller& caller) {
  WEIR_TRY(const std::string folder, image::store_folder("snapshots", caller.variable("XDG_DATA_HOME").value_or(""),
                                                         caller.variable("HOME").value_or("")));
  return image::Snapshots::open(folder);
}

Result<SnapshotChoice> choose_snapshot(const CommandLine& line, const Caller& caller) {
  const auto snapshot = line.value(OptionId::snapshot);
  const auto template_name = line.value(OptionId::template_name);
  if (!snapshot && !template_name) return SnapshotChoice{};
  if ((snapshot && template_name) || line.has(OptionId::image)) {
    return std::unexpected(Error("options --snapshot, --template and --image each say what the sandbox begins with")
                               .with_remedy("keep one; a snapshot brings its image along"));
  }
  if (template_name) return in_context(choose_template(*template_name, caller), "option --template");
  WEIR_TRY(const image::Snapshots store, in_context(snapshot_store(caller), "option --snapshot"));
  return in_context(choose_stored(store, *snapshot), "option --snapshot");
}

Result<> plan_snapshot(const CommandLine& line, const SnapshotChoice& choice, std::string_view mode,
                       supervisor::RunOptions& options) {
  const auto insisted = line.values(OptionId::insist);
  const bool insists = std::ranges::find(insisted, kInsistTaint) != insisted.end();
  const std::string taint = choice.lease ? choice.lease->snapshot().taint : "";
  const bool fits = image::may_open(taint, mode);
  if (insists && fits) {
    return std::unexpected(
        Error("option --insist taint: nothing here was written in a narrower mode").with_remedy("leave it out"));
  }
  if (!fits && !insists) {
    return std::unexpected(Error("snapshot '" + choice.lease->snapshot().id + "' was written in mode " + taint +
                                     ": in mode " + std::string(mode) + " what is in it could get out",
                                 kTaintCode)
                               .with_remedy("open it with --net " + taint + ", or insist with --insist taint"));
  }
  if (!fits) {
    options.start_notices.push_back("insisted: snapshot " + choice.lease->snapshot().id + " was written in mode " +
                                    taint + ", its files can get out now");
  }
  if (choice.lease) take_layers(choice, options);
  return {};
}

void plan_snapshots_of_session(const Caller& caller, const SnapshotChoice& choice,
                               const std::optional<ImageChoice>& image, supervisor::RunOptions& options) {
  const auto folder = image::store_folder("snapshots", caller.variable("XDG_DATA_HOME").value_or(""),
                                          caller.variable("HOME").value_or(""));
  if (!folder) {
    options.no_snapshots = folder.error().what();
    return;
  }
  options.snapshots_folder = *folder;
  if (choice.lease) {
    const image::Snapshot& parent = choice.lease->snapshot();
    options.begun_from.base = parent.base;
    options.begun_from.layers = parent.layers;
    options.begun_from.taint = parent.taint;
    options.begun_from.parent = parent.id;
    return;
  }
  if (!image) return;
  const auto description = image->description();
  if (image->kind == ImageChoice::Kind::stored && description) {
    options.begun_from.base = {.image = image->text, .digest = description->digest, .created = description->created};
    return;
  }
  options.no_snapshots = "the session runs in an image that is not stored: weir image import it, and begin anew";
}

Result<> check_base(const SnapshotChoice& choice, const ImageChoice& image) {
  if (!choice.lease) return {};
  const image::Snapshot& snapshot = choice.lease->snapshot();
  const auto description = image.description();
  if (description && image.kind == ImageChoice::Kind::stored && description->digest == snapshot.base.digest &&
      (!snapshot.base.digest.empty() || description->created == snapshot.base.created))
    return {};
  return std::unexpected(
      Error("image '" + snapshot.base.image + "' is not the one that snapshot '" + snapshot.id + "' was made over")
          .with_remedy("import the image with the digest " +
                       (snapshot.base.digest.empty() ? "of then" : snapshot.base.digest)));
}

}  // namespace weir::cli
