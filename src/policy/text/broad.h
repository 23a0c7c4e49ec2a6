// Wildcards that reach the names of many owners.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::policy {

enum class SuffixKind : std::uint8_t {
  ordinary,  // a name that somebody owns
  registry,  // "com", "co.uk", any single label: a registry sells names below it
  platform,  // "github.io": a company lets anyone publish below it
};

// Of an A-label name, by the Public Suffix List that is built into libpsl.
SuffixKind suffix_kind(std::string_view name);

}  // namespace weir::policy
