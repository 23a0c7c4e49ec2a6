#include "cli/build_info.h"

namespace weir::cli {

std::string_view version_text() {
  return WEIR_VERSION;
}
std::string_view commit_text() {
  return WEIR_COMMIT;
}

std::string_view compiler_text() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}

BuildKind build_kind() {
#if defined(WEIR_ADMIT_ALL)
  return BuildKind::admit_all;
#else
  return BuildKind::normal;
#endif
}

}  // namespace weir::cli
