// A list of texts that is larger than a message: arguments, an environment, a path. It travels in a sealed memory file.
//
// Every text: its length (4 bytes, network order) and its bytes, of which none is NUL, for it becomes an argument of a
// system call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace weir::control {

// All texts together. The kernel takes a quarter of the stack limit, 2 MiB, for arguments and environment.
inline constexpr std::size_t kMaxTexts = 2 * 1024 * 1024;
// One text: the kernel's MAX_ARG_STRLEN.
inline constexpr std::size_t kMaxOneText = 128 * 1024;

// An error when they are more than travels, or hold a NUL.
Result<std::vector<std::uint8_t>> encode_texts(const std::vector<std::string>& texts);

// nullopt: nothing that encode_texts() wrote.
std::optional<std::vector<std::string>> decode_texts(Bytes bytes);

}  // namespace weir::control
