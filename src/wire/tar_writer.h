// Headers of tar archives (POSIX ustar), for members that are files with plain, short names. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::wire {

inline constexpr std::size_t kTarBlock = 512;

// `name`: at most 99 bytes. Sizes from 8 GiB on are written in base 256, as GNU tar does and TarReader reads.
std::string tar_file_header(std::string_view name, std::uint64_t size);
// What fills the last block of a content of that size.
std::string tar_padding(std::uint64_t size);
// Behind the last member.
std::string tar_end();

}  // namespace weir::wire
