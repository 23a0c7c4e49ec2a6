// The documents of a stranger's image: parsed or refused.
#include "wire/oci.h"

#include "base/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  const std::string_view text = as_text({data, size});
  static_cast<void>(wire::parse_oci_index(text));
  static_cast<void>(wire::parse_oci_manifest(text));
  static_cast<void>(wire::parse_oci_config(text));
  static_cast<void>(wire::parse_docker_manifests(text));
  return 0;
}
