#include "wire/oci.h"

#include <algorithm>
#include <optional>

#include "base/failure_line.h"
#include "base/json_document.h"

namespace weir::wire {
namespace {

constexpr std::size_t kMaxItems = 4096;  // of any list: manifests, layers, variables

std::unexpected<Error> wrong(const std::string& what) {
  return std::unexpected(Error(what).with_remedy("make or fetch the image again"));
}

Result<Json> parse(std::string_view text) {
  auto document = parse_json(text);
  if (!document) return wrong(document.error().what());
  return document;
}

// Empty when it is not there.
Result<std::string> text_of(const Json& object, const char* key) {
  const Json* found = json_member(object, key);
  if (found == nullptr) return std::string();
  if (!found->is_string()) return wrong(std::string(key) + " is no text");
  auto text = found->get<std::string>();
  if (text.find('\0') != std::string::npos) return wrong("a NUL character in " + std::string(key));
  return text;
}

Result<const Json*> list_of(const Json& object, const char* key) {
  static const Json kNone = Json::array();
  const Json* found = json_member(object, key);
  if (found == nullptr) return &kNone;
  if (!found->is_array() || found->size() > kMaxItems) return wrong(std::string(key) + " is no list, or too long");
  return found;
}

Result<std::vector<std::string>> texts_of(const Json& object, const char* key) {
  WEIR_TRY(const Json* const list, list_of(object, key));
  std::vector<std::string> texts;
  for (const Json& item : *list) {
    if (!item.is_string()) return wrong(std::string(key) + " holds something that is no text");
    texts.push_back(item.get<std::string>());
    if (texts.back().find('\0') != std::string::npos) return wrong("a NUL character in " + std::string(key));
  }
  return texts;
}

Result<std::string> digest_of(std::string_view text) {
  constexpr std::string_view kKind = "sha256:";
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (text.starts_with(kKind) && text.size() == kKind.size() + 64 &&
      std::ranges::all_of(text.substr(kKind.size()), is_hex))
    return std::string(text.substr(kKind.size()));
  return wrong("the digest '" + printable(text.substr(0, 80)) + "' is no sha256");
}

Result<OciDescriptor> descriptor_of(const Json& object) {
  OciDescriptor descriptor;
  WEIR_TRY(const std::string digest, text_of(object, "digest"));
  WEIR_TRY(descriptor.digest, digest_of(digest));
  const Json* size = json_member(object, "size");
  if (size == nullptr || !size->is_number_unsigned()) return wrong("a blob without a size");
  descriptor.size = size->get<std::uint64_t>();
  WEIR_TRY(descriptor.media_type, text_of(object, "mediaType"));
  if (const Json* platform = json_member(object, "platform")) {
    WEIR_TRY(descriptor.architecture, text_of(*platform, "architecture"));
    WEIR_TRY(descriptor.os, text_of(*platform, "os"));
  }
  if (const Json* notes = json_member(object, "annotations")) {
    WEIR_TRY(descriptor.name, text_of(*notes, "org.opencontainers.image.ref.name"));
    descriptor.attestation = json_member(*notes, "vnd.docker.reference.type") != nullptr;
  }
  return descriptor;
}

}  // namespace

Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view text) {
  WEIR_TRY(const Json document, parse(text));
  if (json_member(document, "manifests") == nullptr) return wrong("no list of manifests");
  WEIR_TRY(const Json* const list, list_of(document, "manifests"));
  std::vector<OciDescriptor> manifests;
  for (const Json& item : *list) {
    WEIR_TRY(OciDescriptor descriptor, descriptor_of(item));
    manifests.push_back(std::move(descriptor));
  }
  return manifests;
}

Result<OciManifest> parse_oci_manifest(std::string_view text) {
  WEIR_TRY(const Json document, parse(text));
  const Json* config = json_member(document, "config");
  if (config == nullptr || json_member(document, "layers") == nullptr) return wrong("no configuration or no layers");
  OciManifest manifest;
  WEIR_TRY(manifest.config, descriptor_of(*config));
  WEIR_TRY(const Json* const list, list_of(document, "layers"));
  for (const Json& item : *list) {
    WEIR_TRY(OciDescriptor descriptor, descriptor_of(item));
    manifest.layers.push_back(std::move(descriptor));
  }
  return manifest;
}

Result<OciConfig> parse_oci_config(std::string_view text) {
  WEIR_TRY(const Json document, parse(text));
  OciConfig config;
  WEIR_TRY(config.architecture, text_of(document, "architecture"));
  WEIR_TRY(config.os, text_of(document, "os"));
  const Json* root = json_member(document, "rootfs");
  if (root == nullptr) return wrong("no rootfs");
  WEIR_TRY(const std::vector<std::string> layers, texts_of(*root, "diff_ids"));
  for (const std::string& layer : layers) {
    WEIR_TRY(std::string digest, digest_of(layer));
    config.diff_ids.push_back(std::move(digest));
  }
  const Json* process = json_member(document, "config");
  if (process == nullptr) return config;
  WEIR_TRY(config.env, texts_of(*process, "Env"));
  WEIR_TRY(config.entrypoint, texts_of(*process, "Entrypoint"));
  WEIR_TRY(config.command, texts_of(*process, "Cmd"));
  WEIR_TRY(config.workdir, text_of(*process, "WorkingDir"));
  WEIR_TRY(config.user, text_of(*process, "User"));
  return config;
}

Result<std::vector<DockerManifest>> parse_docker_manifests(std::string_view text) {
  WEIR_TRY(const Json document, parse(text));
  if (!document.is_array() || document.size() > kMaxItems) return wrong("no list of images");
  std::vector<DockerManifest> manifests;
  for (const Json& item : document) {
    DockerManifest manifest;
    WEIR_TRY(manifest.config, text_of(item, "Config"));
    WEIR_TRY(manifest.layers, texts_of(item, "Layers"));
    WEIR_TRY(const std::vector<std::string> tags, texts_of(item, "RepoTags"));
    if (!tags.empty()) manifest.name = tags.front();
    if (manifest.config.empty()) return wrong("an image without a configuration");
    manifests.push_back(std::move(manifest));
  }
  return manifests;
}

}  // namespace weir::wire
