// What is kept of an overlay is total: any bytes are a manifest or an error, a manifest that was read is written back
// to a text that reads the same and holds no path that leads elsewhere. What is shown of a difference steers no
// terminal.
#include <cstdlib>

#include "base/bytes.h"
#include "changes/manifest.h"
#include "changes/take_over.h"
#include "changes/text_diff.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = weir::as_text({data, size});
  if (const auto read = weir::changes::parse_manifest(text)) {
    const std::string again = weir::changes::manifest_text(*read);
    const auto second = weir::changes::parse_manifest(again);
    if (!second || weir::changes::manifest_text(*second) != again) std::abort();
    for (const auto& entry : read->entries) {
      if (!weir::changes::is_plain_path(entry.change.path) || entry.share >= read->shares.size()) std::abort();
      weir::changes::stays_within(entry.change.path, entry.change.link_target);
    }
  }
  const auto shown = weir::changes::unified_diff(text.substr(0, size / 2), text.substr(size / 2));
  for (const char c : shown.value_or("")) {
    if ((c >= 0 && c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) std::abort();
  }
  return 0;
}
