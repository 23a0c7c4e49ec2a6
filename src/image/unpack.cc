#include "image/unpack.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/failure_line.h"
#include "image/blobs.h"
#include "image/folder_entries.h"
#include "image/limits.h"
#include "image/streams.h"
#include "wire/oci.h"
#include "wire/tar.h"

namespace weir::image {
namespace {

#if defined(__x86_64__)
constexpr std::string_view kArchitecture = "amd64";
#elif defined(__aarch64__)
constexpr std::string_view kArchitecture = "arm64";
#endif

constexpr int kMaxIndexDepth = 4;  // an index of indexes; deeper ones are made to be deep

std::unexpected<Error> refuse(std::string what, std::string remedy) {
  return std::unexpected(Error(std::move(what)).with_remedy(std::move(remedy)));
}

class ImageUnpacker {
 public:
  ImageUnpacker(BlobSource& blobs, TreeWriter& tree) : blobs_(blobs), tree_(tree) {}

  Result<Description> oci() {
    WEIR_TRY(const std::string index, document("index.json"));
    WEIR_TRY(const wire::OciDescriptor chosen, choose(index, 0));
    WEIR_TRY(const std::string text, verified(chosen, "manifest"));
    WEIR_TRY(const wire::OciManifest manifest, in_context(wire::parse_oci_manifest(text), "the manifest of the image"));
    WEIR_TRY(const std::string config_text, verified(manifest.config, "configuration"));
    WEIR_TRY(const wire::OciConfig config, checked_config(config_text, manifest.layers.size()));
    for (std::size_t i = 0; i < manifest.layers.size(); ++i) {
      const wire::OciDescriptor& layer = manifest.layers[i];
      if (layer.media_type.find("encrypted") != std::string::npos)
        return refuse("layer " + std::to_string(i + 1) + " is encrypted", "decrypt the image first");
      WEIR_CHECK_OK(apply(blob_name(layer), &layer, config.diff_ids[i], i));
    }
    return described("OCI image", chosen.digest, config);
  }

  Result<Description> docker() {
    WEIR_TRY(const std::string manifest_text, document("manifest.json"));
    WEIR_TRY(const auto images, in_context(wire::parse_docker_manifests(manifest_text), "manifest.json of the image"));
    if (images.size() != 1) {
      return refuse("the archive holds " + std::to_string(images.size()) + " images",
                    "save one of them: docker save NAME > FILE");
    }
    const wire::DockerManifest& image = images.front();
    WEIR_TRY(const std::string config_text, document(image.config));
    WEIR_TRY(const wire::OciConfig config, checked_config(config_text, image.layers.size()));
    for (std::size_t i = 0; i < image.layers.size(); ++i) {
      WEIR_CHECK_OK(apply(image.layers[i], nullptr, config.diff_ids[i], i));
    }
    // The digest of the configuration is what docker calls the image's id.
    return described("docker archive", sha256_hex(as_bytes(config_text)), config);
  }

 private:
  static std::string blob_name(const wire::OciDescriptor& blob) { return "blobs/sha256/" + blob.digest; }

  Result<std::string> document(const std::string& name) {
    WEIR_TRY(const Blob blob, blobs_.open(name));
    if (blob.size > kMaxDocument)
      return fail(printable(name) + " of the image is larger than " + std::to_string(kMaxDocument >> 20) + " MiB");
    FileStream file(blob.fd, blob.offset, blob.size);
    std::string text(static_cast<std::size_t>(blob.size), '\0');
    std::size_t have = 0;
    while (have < text.size()) {
      auto room = MutableBytes(reinterpret_cast<std::uint8_t*>(text.data()), text.size()).subspan(have);
      WEIR_TRY(const std::size_t got, file.read(room));
      if (got == 0) return fail(printable(name) + " of the image ends too early");
      have += got;
    }
    return text;
  }

  Result<std::string> verified(const wire::OciDescriptor& blob, const char* what) {
    WEIR_TRY(std::string text, document(blob_name(blob)));
    if (text.size() == blob.size && sha256_hex(as_bytes(text)) == blob.digest) return text;
    return refuse(std::string("the ") + what + " of the image is not what its digest sha256:" + blob.digest + " says",
                  "fetch the image again: it was damaged or changed");
  }

  Result<wire::OciDescriptor> choose(const std::string& index, int depth) {
    WEIR_TRY(const auto all, in_context(wire::parse_oci_index(index), "the index of the image"));
    std::vector<wire::OciDescriptor> fitting;
    std::string others;
    for (const wire::OciDescriptor& image : all) {
      const bool other = (!image.architecture.empty() && image.architecture != kArchitecture) ||
                         (!image.os.empty() && image.os != "linux");
      if (image.attestation || image.architecture == "unknown") continue;
      if (other) others += (others.empty() ? "" : ", ") + printable(image.os + "/" + image.architecture);
      if (!other) fitting.push_back(image);
    }
    if (fitting.empty() && !others.empty()) {
      return refuse("the image is for " + others + ", this machine is linux/" + std::string(kArchitecture),
                    "fetch it for this machine: skopeo --override-arch " + std::string(kArchitecture) + " copy ...");
    }
    if (fitting.size() != 1) {
      std::string names;
      for (const wire::OciDescriptor& image : fitting) names += " '" + printable(image.name) + "'";
      return refuse(
          "the layout holds " + std::to_string(fitting.size()) + " images" + (names.empty() ? "" : ":" + names),
          "copy one of them out: skopeo copy oci:FOLDER:NAME oci-archive:FILE");
    }
    if (!fitting.front().media_type.ends_with(".index.v1+json") &&
        !fitting.front().media_type.ends_with(".manifest.list.v2+json"))
      return fitting.front();
    if (depth == kMaxIndexDepth) return fail("the index of the image is nested too deeply");
    WEIR_TRY(const std::string next, verified(fitting.front(), "index"));
    return choose(next, depth + 1);
  }

  static Result<wire::OciConfig> checked_config(const std::string& text, std::size_t layers) {
    WEIR_TRY(wire::OciConfig config, in_context(wire::parse_oci_config(text), "the configuration of the image"));
    if (config.os != "linux" || config.architecture != kArchitecture) {
      return refuse("the image is for " + printable(config.os + "/" + config.architecture) +
                        ", this machine is linux/" + std::string(kArchitecture),
                    "fetch it for this machine: skopeo --override-arch " + std::string(kArchitecture) + " copy ...");
    }
    if (layers > kMaxLayers) return fail("the image has more than " + std::to_string(kMaxLayers) + " layers");
    if (layers != config.diff_ids.size()) {
      return refuse("the image has " + std::to_string(layers) + " layers, its configuration speaks of " +
                        std::to_string(config.diff_ids.size()),
                    "fetch the image again: it was damaged or changed");
    }
    return config;
  }

  // `blob`: what the manifest says about the compressed bytes; nullptr: nothing. `diff_id`: of the archive itself.
  Result<> apply(const std::string& name, const wire::OciDescriptor* blob, const std::string& diff_id,
                 std::size_t number) {
    auto applied = apply_layer(name, blob, diff_id);
    if (applied) return {};
    return std::unexpected(std::move(applied).error().context("layer " + std::to_string(number + 1)));
  }

  Result<> apply_layer(const std::string& name, const wire::OciDescriptor* blob, const std::string& diff_id) {
    WEIR_TRY(const Blob found, blobs_.open(name));
    FileStream file(found.fd, found.offset, found.size);
    HashingStream stored(file);
    WEIR_TRY(const auto plain, decompressed(stored));
    HashingStream content(*plain);
    wire::TarReader archive(content);
    WEIR_CHECK_OK(tree_.apply(archive, TreeWriter::Whiteouts::applied));
    WEIR_TRY(const std::string content_digest, content.finish());
    WEIR_TRY(const std::string stored_digest, stored.finish());
    const bool as_promised = content_digest == diff_id &&
                             (blob == nullptr || (stored_digest == blob->digest && stored.size() == blob->size));
    if (as_promised) return {};
    return refuse("its content is not what its digest says", "fetch the image again: it was damaged or changed");
  }

  Description described(const char* format, const std::string& digest, const wire::OciConfig& config) const {
    Description made;
    made.format = format;
    made.digest = "sha256:" + digest;
    made.tally = tree_.tally();
    made.env = config.env;
    made.entrypoint = config.entrypoint;
    made.command = config.command;
    made.workdir = config.workdir;
    made.user = config.user;
    return made;
  }

  BlobSource& blobs_;
  TreeWriter& tree_;
};

// By the first name in it: no root file system has these at its top, and both formats begin with one of them.
bool begins_like_image(const std::string& path) {
  const std::string top = path.substr(0, path.find('/'));
  constexpr std::array kNames = {"blobs", "oci-layout", "index.json", "manifest.json", "repositories"};
  const bool hex = top.size() >= 64 && top.find_first_not_of("0123456789abcdef") >= 64;
  return std::ranges::find(kNames, top) != kNames.end() || hex;
}

Result<std::string> first_name(const Source& source) {
  FileStream file(source.fd.get(), 0, source.size);
  WEIR_TRY(const auto plain, decompressed(file));
  wire::TarReader archive(*plain);
  while (true) {
    WEIR_TRY(const std::optional<wire::TarEntry> entry, archive.next());
    if (!entry) return std::string();
    if (!entry->path.empty()) return entry->path;
  }
}

Result<Description> unpack_tar(const Source& source, TreeWriter& tree) {
  FileStream file(source.fd.get(), 0, source.size);
  HashingStream stored(file);
  WEIR_TRY(const auto plain, decompressed(stored));
  wire::TarReader archive(*plain);
  WEIR_CHECK_OK(tree.apply(archive, TreeWriter::Whiteouts::refused));
  WEIR_TRY(const std::string digest, stored.finish());
  if (tree.tally().entries == 0) return refuse("the archive is empty", "name an archive of a root file system");
  Description made;
  made.format = "tar";
  made.digest = "sha256:" + digest;
  made.tally = tree.tally();
  return made;
}

Result<Description> copy_tree(const Source& source, TreeWriter& tree) {
  FolderEntries entries(source.fd.get(), source.unmapped, {});
  WEIR_CHECK_OK(tree.apply(entries, TreeWriter::Whiteouts::refused));
  Description made;
  made.format = "folder";
  made.tally = tree.tally();
  return made;
}

Result<bool> is_uncompressed(const Source& source) {
  FileStream file(source.fd.get(), 0, source.size);
  std::array<std::uint8_t, 512> block{};
  WEIR_TRY(const std::size_t got, file.read(block));
  return got == block.size() && as_text(Bytes(block).subspan(257, 5)) == "ustar";
}

Result<Description> unpack_images(BlobSource& blobs, TreeWriter& tree) {
  ImageUnpacker unpacker(blobs, tree);
  if (const auto index = blobs.open("index.json"); index || index.error().code() != ENOENT) return unpacker.oci();
  if (!blobs.open("manifest.json")) {
    return refuse("neither index.json nor manifest.json is in it",
                  "name an OCI layout, an OCI archive, or what docker save wrote");
  }
  return unpacker.docker();
}

}  // namespace

Result<Description> unpack(const Source& source, sys::OwnedFd target, Owners owners) {
  TreeWriter tree(std::move(target), owners);
  Result<Description> made = fail("nothing was unpacked");
  if (source.kind == Source::Kind::tree) {
    made = copy_tree(source, tree);
  } else if (source.kind == Source::Kind::layout) {
    FolderBlobs blobs(source.fd.get());
    made = unpack_images(blobs, tree);
  } else {
    WEIR_TRY(const std::string first, first_name(source));
    if (!begins_like_image(first)) {
      made = unpack_tar(source, tree);
    } else {
      WEIR_TRY(const bool plain, is_uncompressed(source));
      if (!plain) return refuse("an image archive that is compressed as a whole", "decompress it first: gunzip FILE");
      WEIR_TRY(const auto blobs, ArchiveBlobs::index(source.fd.get(), source.size));
      made = unpack_images(*blobs, tree);
    }
  }
  if (made) made->owners = owners;
  return made;
}

}  // namespace weir::image
