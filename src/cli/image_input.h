// Which image a command line means, and what `weir run` takes from it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "cli/command.h"
#include "image/store.h"
#include "sandbox/shares/shares.h"
#include "sandbox/spec.h"

namespace weir::cli {

// The caller's store of images.
Result<image::Store> image_store(const Caller& caller);

// An existing file or folder, absolute and without links. Errors name `text` as it was written.
Result<std::string> image_source(const std::string& text, const Caller& caller);

// What kind of source it is, by the names at its top. An error for a folder that is neither a root file system nor an
// image, and for one that may not or must not be one. Errors name `text`.
Result<image::Source::Kind> kind_of_source(const std::string& text, const std::string& source,
                                           const sandbox::Sharer& sharer);

// What --image names: a name in the store, or, with a slash in it or when there is no such name, a path.
struct ImageChoice {
  std::string text;  // as written
  enum class Kind : std::uint8_t { stored, folder, archive } kind = Kind::stored;
  std::string source;  // of a folder or an archive
  image::Source::Kind source_kind = image::Source::Kind::file;
  std::shared_ptr<image::Lease> lease;  // of a stored image; of an archive once it is unpacked
  std::vector<std::string> leftovers;   // image::Store::leftovers(), of an archive
  std::optional<image::Description> description() const;
};
Result<ImageChoice> choose_image(const std::string& text, const Caller& caller, const sandbox::Sharer& sharer);

// Archives are unpacked here, for this run. From now on the choice has a lease unless it is a folder.
Result<> unpack_for_run(ImageChoice& choice, const Caller& caller);

// The image as the sandbox takes it. After unpack_for_run().
Result<sandbox::ImageRoot> image_root(const ImageChoice& choice);

}  // namespace weir::cli
