#include "sys/folder.h"

#include <cerrno>
#include <string_view>

namespace weir::sys {

Folder folder_of(OwnedFd fd) {
  if (!fd.valid()) return nullptr;  // errno is that of the open
  Folder folder(::fdopendir(fd.get()));
  if (folder != nullptr) static_cast<void>(fd.release());  // closedir() closes it
  return folder;
}

const dirent* next_entry(const Folder& folder) {
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (entry == nullptr) return nullptr;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return entry;
  }
}

}  // namespace weir::sys
