// A layer's manifest is total: any bytes are one or an error; one that was read is written back byte for byte, and no
// path of it leads out of the layer or to what belongs to a running sandbox.
#include <cstdlib>

#include "base/bytes.h"
#include "wire/layer_manifest.h"
#include "wire/tar.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = weir::as_text({data, size});
  const auto read = weir::wire::parse_layer_manifest(text);
  if (!read) return 0;
  std::string again(weir::wire::kLayerManifestHead);
  for (const auto& entry : *read) {
    again += weir::wire::layer_line(entry);
    const auto path = weir::wire::canonical_tar_path(entry.path);
    if (!path || *path != entry.path || weir::wire::is_of_running_sandbox(entry.path)) std::abort();
  }
  if (again != text) std::abort();
  return 0;
}
