// What stores of files below one folder share: names, times, locks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::image {

// Where the caller's `what` ("images", "snapshots") are: below /var/lib/weir of root, otherwise weir below `data_home`
// (XDG_DATA_HOME), or below .local/share of `home`.
Result<std::string> store_folder(std::string_view what, std::string_view data_home, std::string_view home);

// Makes the folder and those above it where they are missing. An error when somebody else than the caller could write
// into it.
Result<> prepare_store_folder(const std::string& folder);

// `bytes` random ones, as twice as many hexadecimal digits.
Result<std::string> random_hex(std::size_t bytes);
// Now, RFC 3339, in seconds.
std::string now_text();

Result<sys::OwnedFd> open_folder(const std::string& path);
// What is in a folder, sorted.
Result<std::vector<std::string>> names_in(const std::string& folder);
// Whoever makes or takes names in a store holds this for the moment.
Result<sys::OwnedFd> lock_store(const std::string& folder);
// Whether nobody else has a lock on it; it is held until the descriptor is closed.
bool lock_alone(const sys::OwnedFd& fd);

}  // namespace weir::image
