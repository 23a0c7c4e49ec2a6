// Files whole: reading with a bound, replacing.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

// The content of a file, a pipe or a terminal, up to its end. An error when it is a folder, cannot be read, or holds
// more than `max_bytes`. Errors name the path.
Result<std::string> read_file(const std::string& path, std::size_t max_bytes);

// Puts a file in place whole or not at all, readable by everybody, in place of one that is there. Errors name the path.
Result<> replace_file(const std::string& path, Bytes bytes);
// The same as read_file() of a file that is open already. `path` names it in errors.
Result<std::string> read_open_file(const OwnedFd& fd, const std::string& path, std::size_t max_bytes);
// All of it, where the descriptor stands. `path` names it in errors.
Result<> write_whole(const OwnedFd& fd, const std::string& path, Bytes bytes);

// Makes the folder at an absolute path, and those above it, with rights for their owner only; those that are there stay
// as they are. Errors name the folder.
Result<> make_folders(const std::string& path);

// Where the link `name` in the folder leads (readlinkat(2)); an empty name is the link itself that `folder` holds open.
// nullopt and errno.
std::optional<std::string> link_target(int folder, const std::string& name);

// The content of a file that only the operator can have written: a regular file (no link) of uid 0 that neither group
// nor others may write, in a folder of which the same holds. Nothing when the file does not exist. Inside a user
// namespace that does not map the host's root the owner reads as nobody, and the file is refused.
Result<std::optional<std::string>> read_operator_file(const std::string& path, std::size_t max_bytes);

}  // namespace weir::sys
