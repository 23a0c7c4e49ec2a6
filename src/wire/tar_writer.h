// Headers of tar archives as TarReader (tar.h), GNU tar, busybox and container tools read them: POSIX ustar, with a pax
// header in front where a field does not hold what it should. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "wire/tar.h"

namespace weir::wire {

inline constexpr std::size_t kTarBlock = 512;

// All that goes before the content of the entry. Its path is as TarReader gives it, and so is the target of a hard
// link; texts hold no NUL. A device has no numbers here.
std::string tar_headers(const TarEntry& entry);
// That of a file of the archive's maker alone. `name`: a path as above.
std::string tar_file_header(std::string_view name, std::uint64_t size);
// What fills the last block of a content of that size.
std::string tar_padding(std::uint64_t size);
// Behind the last member.
std::string tar_end();

}  // namespace weir::wire
