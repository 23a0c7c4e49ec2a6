#include "sys/memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "sys/errno.h"

namespace weir::sys {

Result<OwnedFd> make_memory_file(const char* name) {
  return checked_fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), "cannot make a memory file");
}

Result<> append(const OwnedFd& memory, Bytes bytes) {
  const off_t end = ::lseek(memory.get(), 0, SEEK_END);
  if (end < 0) return errno_error("cannot write a memory file");
  return overwrite(memory, static_cast<std::size_t>(end), bytes);
}

Result<> overwrite(const OwnedFd& memory, std::size_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(memory.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno_error("cannot write a memory file");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::size_t>(written);
  }
  return {};
}

Result<> seal(const OwnedFd& memory) {
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
    return errno_error("cannot seal a memory file");
  }
  return {};
}

Result<OwnedFd> copy_to_memory(const std::string& path, const char* name, std::size_t max_bytes) {
  WEIR_TRY(const OwnedFd file,
           checked_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), "cannot read " + path));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return errno_error("cannot look at " + path);
  if (!S_ISREG(status.st_mode)) return fail(path + ": not a regular file");
  auto rest = static_cast<std::size_t>(status.st_size);
  if (rest > max_bytes) return fail(path + ": larger than " + std::to_string(max_bytes) + " bytes");
  WEIR_TRY(OwnedFd memory, make_memory_file(name));
  while (rest > 0) {
    const ssize_t copied = ::sendfile(memory.get(), file.get(), nullptr, rest);
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0) return errno_error("cannot read " + path);
    if (copied == 0) return fail(path + ": became shorter while it was read");
    rest -= static_cast<std::size_t>(copied);
  }
  return memory;
}

bool begins_with(const std::string& path, Bytes beginning) {
  const OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  std::array<std::uint8_t, 64> found;
  if (!file.valid() || beginning.size() > found.size()) return false;
  // Fails for pipes, which must keep what they hold.
  const ssize_t got = ::pread(file.get(), found.data(), beginning.size(), 0);
  return got == static_cast<ssize_t>(beginning.size()) &&
         as_text({found.data(), beginning.size()}) == as_text(beginning);
}

Result<Mapping> Mapping::of(const OwnedFd& memory) {
  struct stat status{};
  if (::fstat(memory.get(), &status) != 0) return errno_error("cannot look at a memory file");
  return of(memory, static_cast<std::size_t>(status.st_size));
}

Result<Mapping> Mapping::of(const OwnedFd& memory, std::size_t size) {
  if (size == 0) return Mapping();
  // Private, though it is only read: a shared one of a writable descriptor would forbid sealing (before Linux 6.7).
  // Populated: a page fault for every page costs more than all of what is done with it.
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, memory.get(), 0);
  if (address == MAP_FAILED) return errno_error("cannot map a memory file");
  return Mapping(Bytes(static_cast<const std::uint8_t*>(address), size));
}

Mapping::~Mapping() {
  // The pages were mapped for reading; munmap takes them without touching them.
  if (!bytes_.empty()) ::munmap(const_cast<std::uint8_t*>(bytes_.data()), bytes_.size());
}

}  // namespace weir::sys
