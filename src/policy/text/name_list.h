// Imported lists of names to deny: plain names, hosts files, AdGuard-style lists, RPZ zones (docs/policy.md).
//
// Hostile input of any size: one pass, no line is kept, and what is no denial is an invalid line, never a guess.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/compiled/source.h"

namespace weir::policy {

enum class ListFormat : std::uint8_t {
  automatic,  // the first line that is neither empty nor a '#' comment decides
  names,      // "example.com", "*.example.com", ".example.com" as in targets; '#' comments
  hosts,      // "0.0.0.0 example.com": that name only
  adguard,    // "||example.com^": the name and everything below it; '!' comments
  rpz,        // "example.com CNAME .", "*.example.com CNAME ."
};

// "ads.txt", "rpz:malware.zone"
struct ListSpec {
  ListFormat format = ListFormat::automatic;
  std::string path;
};
Result<ListSpec> parse_list_spec(std::string_view text);

struct InvalidLine {
  std::uint32_t number = 0;
  std::string why;  // with the beginning of the line
};

struct ListReport {
  ListFormat format = ListFormat::names;  // the one that was read
  std::uint32_t lines = 0;
  std::uint32_t invalid = 0;
  std::vector<InvalidLine> first_invalid;  // up to kMaxShownLines
  // More names than ListedNames::kMaxNames: the rest was not read.
  bool too_many = false;
};
inline constexpr std::size_t kMaxShownLines = 10;
// The lists of one layer together; all are read before the first is used.
inline constexpr std::size_t kMaxListBytes = 256u << 20;

// Adds every valid name to `names`, which the caller closes.
ListReport read_list(std::string_view text, ListFormat format, ListedNames& names);

// "3 of 120 lines deny no name: line 7, '@@||a^': exceptions are not supported; lines 9, 11". Only where some are.
std::string invalid_text(const ListReport& report);

}  // namespace weir::policy
