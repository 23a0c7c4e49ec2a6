// A folder of files as entries, for the same writer that archives go through (tree_writer.h).
//
// Everything is opened anew from the one descriptor of the folder, beneath it, through no link and on no other mount:
// whoever changes the folder meanwhile leads the reader nowhere else. What it says of an entry is of the very file it
// reads; one that changes while it is read is an error, and so is what an entry cannot say (sockets, owners without an
// id here).
#pragma once

#include <sys/stat.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/ids.h"
#include "image/limits.h"
#include "image/streams.h"
#include "sys/owned_fd.h"
#include "wire/tar.h"

namespace weir::image {

class FolderEntries : public wire::EntrySource {
 public:
  // `folder` outlives the object; O_PATH is enough. `unmapped`: what the kernel shows for
  // an owner that has no id here, which is refused; nothing: owners do not count.
  FolderEntries(int folder, std::optional<OwnerIds> unmapped, Limits limits)
      : folder_(folder), unmapped_(unmapped), limits_(limits) {}

  // Each folder before what is in it, by name. Attributes of symbolic links are not seen: they cannot have user.* ones,
  // and those of security modules are refused on files.
  Result<std::optional<wire::TarEntry>> next() override;
  Result<std::size_t> read(MutableBytes into) override;

 private:
  sys::OwnedFd open(const std::string& path, int flags) const;
  Result<> look_into(wire::TarEntry& entry, const struct stat& status);
  Result<> describe(wire::TarEntry& entry, const struct stat& status) const;
  Result<> list(const std::string& path);

  int folder_;
  std::optional<OwnerIds> unmapped_;
  Limits limits_;
  std::vector<std::string> waiting_ = {""};  // the next one last
  std::uint64_t listed_ = 1;
  // Files with several names: the first one met.
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;
  // The file that is read now.
  std::string path_;
  sys::OwnedFd file_;
  struct stat before_{};
  std::optional<FileStream> content_;
};

}  // namespace weir::image
