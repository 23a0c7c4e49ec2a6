// The JSON documents of container images: OCI layouts, and what `docker save` writes.
//
// Strict where two readers could disagree: a key that comes twice, a digest that is not sha256, a size that is no
// number. What the specifications do not name is ignored, as they demand.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace weir::wire {

// A blob by the digest of its bytes.
struct OciDescriptor {
  std::string digest;  // 64 lower-case hexadecimal digits of a SHA-256
  std::uint64_t size = 0;
  std::string media_type;  // may be empty
  // Of an index: what the blob is for. Empty where it does not say.
  std::string architecture;
  std::string os;
  std::string name;          // org.opencontainers.image.ref.name
  bool attestation = false;  // a statement about another image, not an image
};

struct OciManifest {
  OciDescriptor config;
  std::vector<OciDescriptor> layers;
};

struct OciConfig {
  std::string architecture;
  std::string os;
  std::vector<std::string> diff_ids;  // as OciDescriptor::digest, of the uncompressed layers, lowest first
  std::vector<std::string> env;       // NAME=VALUE
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::string workdir;
  std::string user;
};

// manifest.json of `docker save`: names inside the archive.
struct DockerManifest {
  std::string config;
  std::vector<std::string> layers;
  std::string name;  // of the first tag; may be empty
};

Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view text);
Result<OciManifest> parse_oci_manifest(std::string_view text);
Result<OciConfig> parse_oci_config(std::string_view text);
Result<std::vector<DockerManifest>> parse_docker_manifests(std::string_view text);

}  // namespace weir::wire
