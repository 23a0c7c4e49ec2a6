// The one grammar for durations and sizes: flags, policy files and the API read them through here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace weir {

// "10s", "1m30s", "500ms", "2h", "7d"; a bare number counts seconds. Whole numbers only, units from large to small,
// each at most once, no spaces, at most 100 years. Zero is a duration: whether it makes sense is the caller's business.
Result<std::uint64_t> parse_duration_ms(std::string_view text);

// "512M", "1G", "200MB", "64KiB", "1000", "1000B"; letters of either case. As in coreutils: K, M, G, T (and KiB, ...)
// are powers of 1024; KB, MB, GB, TB are powers of 1000; a bare number counts bytes. Whole numbers only.
Result<std::uint64_t> parse_size_bytes(std::string_view text);

// The shortest text that parses back to the same value: "1m30s", "500ms", "0s".
std::string duration_text(std::uint64_t milliseconds);

// The shortest text that parses back to the same value: "512M", "1G", "1000".
std::string size_text(std::uint64_t bytes);

}  // namespace weir
