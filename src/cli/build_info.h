// What this binary was made from; the build writes the values.
#pragma once

#include <string_view>

namespace weir::cli {

// "0.1.0"
std::string_view version_text();
// "git describe" of the tree at configure time; "unknown" outside a repository.
std::string_view commit_text();
// "clang 19.1.4"
std::string_view compiler_text();

enum class BuildKind : unsigned char {
  normal,
  admit_all,  // admission always says yes: for proving that the tests notice
};
BuildKind build_kind();
inline constexpr std::string_view kAdmitAllWarning = "TEST BUILD: admission always says yes";

}  // namespace weir::cli
