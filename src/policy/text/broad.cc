#include "policy/text/broad.h"

#include <libpsl.h>

#include <string>

namespace weir::policy {

SuffixKind suffix_kind(std::string_view name) {
  if (name.find('.') == std::string_view::npos) return SuffixKind::registry;
  const std::string text(name);
  const psl_ctx_t* const list = psl_builtin();
  // A libpsl without its list would call nothing broad: then everything is.
  if (list == nullptr) return SuffixKind::registry;
  if (psl_is_public_suffix2(list, text.c_str(), PSL_TYPE_ICANN) != 0) return SuffixKind::registry;
  if (psl_is_public_suffix2(list, text.c_str(), PSL_TYPE_PRIVATE) != 0) return SuffixKind::platform;
  return SuffixKind::ordinary;
}

}  // namespace weir::policy
