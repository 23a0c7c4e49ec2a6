#include "cli/image_input.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "cli/run_plan.h"
#include "image/store_folder.h"
#include "sys/errno.h"

namespace weir::cli {
namespace {

bool exists_in(const std::string& folder, const char* name) {
  return ::access((folder + "/" + name).c_str(), F_OK) == 0;
}

Result<> check_root_folder(const std::string& folder, const sandbox::Sharer& sharer) {
  if (folder == "/") {
    return std::unexpected(
        Error("/ is this machine itself, with everything its user can read").with_remedy("name a folder made for it"));
  }
  // Through an overlay the sockets below a folder lead nowhere; imports refuse them.
  return sandbox::check_source(
      {.source = folder, .target = "/", .access = sandbox::Share::Access::overlay, .read_only_below = {}}, sharer);
}

}  // namespace

std::optional<image::Description> ImageChoice::description() const {
  return lease ? std::optional(lease->description()) : std::nullopt;
}

Result<image::Store> image_store(const Caller& caller) {
  WEIR_TRY(const std::string folder, image::store_folder("images", caller.variable("XDG_DATA_HOME").value_or(""),
                                                         caller.variable("HOME").value_or("")));
  return image::Store::open(folder);
}

Result<std::string> image_source(const std::string& text, const Caller& caller) {
  WEIR_TRY(const std::string path, absolute_path(text, caller.folder));
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), &::free);
  if (real == nullptr) return sys::errno_error("cannot open " + text);
  return std::string(real.get());
}

Result<image::Source::Kind> kind_of_source(const std::string& text, const std::string& source,
                                           const sandbox::Sharer& sharer) {
  using Kind = image::Source::Kind;
  struct stat status{};
  if (::stat(source.c_str(), &status) != 0) return sys::errno_error("cannot look at " + text);
  if (!S_ISDIR(status.st_mode)) return Kind::file;
  const auto has = [&](const char* name) { return exists_in(source, name); };
  const bool root = std::ranges::any_of(std::array{"bin", "usr", "lib", "etc", "sbin"}, has);
  if (root && has("oci-layout") && has("index.json")) {
    return std::unexpected(Error(text + " is an OCI layout and a root file system at once: which one is meant?")
                               .with_remedy("name a folder that is one of them"));
  }
  if (root) {
    WEIR_CHECK_OK(check_root_folder(source, sharer));
    return Kind::tree;
  }
  if (has("index.json") || has("manifest.json") || has("oci-layout")) return Kind::layout;
  return std::unexpected(
      Error(text + " is no root file system (it has neither bin, usr nor etc) and no image (neither index.json nor "
                   "manifest.json)")
          .with_remedy("name the folder that becomes / inside, or an archive, or an OCI layout"));
}

Result<ImageChoice> choose_image(const std::string& text, const Caller& caller, const sandbox::Sharer& sharer) {
  ImageChoice choice{.text = text, .source = {}, .lease = {}, .leftovers = {}};
  if (text.find('/') == std::string::npos && image::is_image_name(text)) {
    WEIR_TRY(const image::Store store, image_store(caller));
    auto lease = store.use(text);
    if (lease) {
      choice.lease = std::make_shared<image::Lease>(std::move(*lease));
      return choice;
    }
    struct stat status{};
    if (lease.error().code() != ENOENT || ::stat((caller.folder + "/" + text).c_str(), &status) != 0)
      return std::unexpected(std::move(lease).error().context("option --image"));
  }
  WEIR_TRY(choice.source, in_context(image_source(text, caller), "option --image"));
  WEIR_TRY(choice.source_kind, in_context(kind_of_source(text, choice.source, sharer), "option --image"));
  choice.kind =
      choice.source_kind == image::Source::Kind::tree ? ImageChoice::Kind::folder : ImageChoice::Kind::archive;
  return choice;
}

Result<> unpack_for_run(ImageChoice& choice, const Caller& caller) {
  if (choice.kind != ImageChoice::Kind::archive || choice.lease) return {};
  WEIR_TRY(image::Store store, image_store(caller));
  WEIR_TRY(image::Lease lease, in_context(store.unpack_once(choice.source, choice.source_kind), "option --image"));
  choice.lease = std::make_shared<image::Lease>(std::move(lease));
  choice.leftovers = store.leftovers();
  return {};
}

Result<sandbox::ImageRoot> image_root(const ImageChoice& choice) {
  sandbox::ImageRoot root{.name = choice.text, .folder = choice.source, .delegated = {}};
  if (choice.lease) {
    const image::Ids& ids = choice.lease->ids();
    root.folder = choice.lease->root();
    if (ids.kind == image::Ids::Kind::root) root.first_id = image::kStoredFirst;
    if (ids.kind == image::Ids::Kind::subids) root.delegated = ids.maps;
    return root;
  }
  // A tree of the caller's subordinate ids (mmdebstrap makes such) has its owners; any other has none but the caller.
  struct stat status{};
  if (::stat(root.folder.c_str(), &status) != 0)
    return sys::errno_error("option --image: cannot look at " + root.folder);
  WEIR_TRY(const image::Ids ids, image::ids_of_caller());
  if (ids.kind == image::Ids::Kind::subids && status.st_uid == ids.maps.uids.front().outside) root.delegated = ids.maps;
  return root;
}

}  // namespace weir::cli
