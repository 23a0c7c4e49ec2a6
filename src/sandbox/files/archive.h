// A folder of the sandbox as a tar archive, and a tar archive as what is in a folder of the sandbox: while programs
// there go on, with the rights of their user.
//
// Not the writer of images (image/tree_writer.h), which makes a whole file system of nobody yet, with its owners, and
// refuses what a sandbox could not start from.
#pragma once

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// Entries of one archive: what image/limits.h takes for an image. Each costs memory where its mode is set last.
inline constexpr std::size_t kMaxArchiveEntries = 500'000;

// Files, folders and links, owners and modes as they are; sockets, named pipes, devices and extended attributes are
// left out. A file that grows while it is read is as long as it was; one that shrinks is an error.
Result<> write_archive(const sys::OwnedFd& folder, const sys::OwnedFd& to);

// Of files: what is there gives way, except a folder to something else. Of changes (what was written over that folder
// in an overlay, in the spelling of the OCI image specification): whiteouts remove, opaque folders are emptied first, a
// folder gives way as well, and each file is put in place whole.
enum class Archive : std::uint8_t { of_files, of_changes };

// Entries go below the folder, through no link and onto no other mount. Owners are the sandbox's user, set-id bits are
// left out. What came before an error stays.
Result<> read_archive(const sys::OwnedFd& from, const sys::OwnedFd& folder, Archive kind = Archive::of_files);

}  // namespace weir::sandbox
