#include "image/store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "image/confined.h"
#include "image/store_folder.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"

namespace weir::image {
namespace {

constexpr std::size_t kMaxName = 63;
constexpr const char* kNew = ".new-";
constexpr const char* kOld = ".old-";
constexpr const char* kRun = ".run-";

std::unexpected<Error> no_such_image(const std::string& name) {
  return std::unexpected(Error("there is no image '" + name + "'", ENOENT)
                             .with_remedy("weir image ls lists them; weir image import FILE " + name + " makes one"));
}

// `outer`: without links.
bool contains(const std::string& outer, const std::string& inner) {
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(inner.c_str(), nullptr), &::free);
  return real == nullptr || (std::string(real.get()) + "/").starts_with(outer + "/");
}

Result<Description> description_in(const std::string& folder) {
  WEIR_TRY(const std::string text, sys::read_file(folder + "/description", kMaxDescription));
  return in_context(decode_description(text), folder);
}

Result<> write_description(const std::string& folder, const Description& description) {
  const std::string path = folder + "/description";
  WEIR_TRY(const sys::OwnedFd fd,
           sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), "cannot make " + path));
  const std::string text = encode(description);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return sys::errno_error("cannot write " + path);
  // Files before the name: a machine that stops shows the whole image or none.
  if (::syncfs(fd.get()) != 0) return sys::errno_error("cannot write the image");
  return {};
}

}  // namespace

// A folder that is being filled. Its lock is held.
struct Store::Begun {
  std::string folder;
  sys::OwnedFd lock;
};

Lease::Lease(const std::string& folder, Description description, Ids ids, sys::OwnedFd lock)
    : root_(folder + "/rootfs"), description_(std::move(description)), ids_(std::move(ids)), lock_(std::move(lock)) {}

Lease::~Lease() {
  if (temporary_.empty() || !lock_.valid()) return;
  if (!empty_confined(root_, ids_)) return;
  ::rmdir(root_.c_str());
  ::rmdir(temporary_.c_str());
}

Result<Store> Store::open(const std::string& folder) {
  WEIR_CHECK_OK(prepare_store_folder(folder));
  WEIR_TRY(Ids ids, ids_of_caller());
  return Store(folder, std::move(ids));
}

// Whose the files in a folder of the store are. One without a description was not finished.
Result<Ids> Store::ids_of(const std::string& folder) const {
  const auto description = description_in(folder);
  return description ? ids_of_stored(description->ids, ids_) : ids_;
}

// Removes a folder that nobody else uses: the caller holds its lock.
Result<> Store::discard(const std::string& folder) const {
  const std::string root = folder + "/rootfs";
  WEIR_TRY(const Ids ids, ids_of(folder));
  if (::access(root.c_str(), F_OK) == 0)
    WEIR_CHECK_OK(in_context(empty_confined(root, ids), "cannot remove " + folder));
  for (const std::string& path : {root, folder}) {
    ::unlink((folder + "/description").c_str());
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return sys::errno_error("cannot remove " + path);
  }
  return {};
}

// With the lock of the store: leftovers of processes that were killed. One that cannot be removed stops nothing else.
Result<> Store::sweep() {
  WEIR_TRY(const std::vector<std::string> names, names_in(folder_));
  for (const std::string& name : names) {
    if (!name.starts_with(kNew) && !name.starts_with(kOld) && !name.starts_with(kRun)) continue;
    const std::string folder = folder_ + "/" + name;
    const auto lock = open_folder(folder);
    if (!lock || ::flock(lock->get(), LOCK_EX | LOCK_NB) != 0) continue;
    if (const auto gone = discard(folder); !gone)
      leftovers_.push_back("a leftover stays: " + gone.error().what() + "; when nothing uses it, sudo rm -r " + folder +
                           " removes it");
  }
  return {};
}

Result<Store::Begun> Store::begin(const char* prefix) {
  WEIR_TRY(const sys::OwnedFd store, lock_store(folder_));
  WEIR_CHECK_OK(sweep());
  WEIR_TRY(const std::string id, random_hex(8));
  Begun begun{.folder = folder_ + "/" + prefix + id, .lock = {}};
  if (::mkdir(begun.folder.c_str(), 0700) != 0) return sys::errno_error("cannot make " + begun.folder);
  WEIR_TRY(begun.lock, open_folder(begun.folder));
  if (::flock(begun.lock.get(), LOCK_EX | LOCK_NB) != 0) return sys::errno_error("cannot lock " + begun.folder);
  const std::string root = begun.folder + "/rootfs";
  if (::mkdir(root.c_str(), 0755) != 0) return sys::errno_error("cannot make " + root);
  return begun;
}

Result<Description> Store::unpack_into(const Begun& begun, const std::string& source, Source::Kind kind,
                                       const std::string& name) {
  auto made = unpack_confined(source, kind, begun.folder + "/rootfs", ids_);
  if (!made) {
    // What cannot be removed now is swept the next time; what failed first is worth more to the reader.
    static_cast<void>(discard(begun.folder));
    return std::unexpected(std::move(made).error().context(source));
  }
  made->name = name;
  made->created = now_text();
  made->ids = ids_.text();
  return made;
}

Result<Description> Store::import(const std::string& source, Source::Kind kind, const std::string& name) {
  const std::string final_folder = folder_ + "/" + name;
  const auto taken = [&] {
    return std::unexpected(Error("there is an image '" + name + "' already").with_remedy("weir image rm " + name));
  };
  if (::access(final_folder.c_str(), F_OK) == 0) return taken();
  if (kind == Source::Kind::tree && contains(source, folder_)) {
    return std::unexpected(Error(source + " holds the images of weir itself: the image would be a part of itself")
                               .with_remedy("name a folder made for it"));
  }
  WEIR_TRY(const Begun begun, begin(kNew));
  WEIR_TRY(Description made, unpack_into(begun, source, kind, name));
  WEIR_CHECK_OK(write_description(begun.folder, made));
  if (::renameat2(AT_FDCWD, begun.folder.c_str(), AT_FDCWD, final_folder.c_str(), RENAME_NOREPLACE) == 0) return made;
  const int code = errno;
  WEIR_CHECK_OK(discard(begun.folder));
  if (code == EEXIST) return taken();
  return sys::errno_error("cannot name the image " + name, code);
}

Result<std::vector<Description>> Store::list() {
  {
    WEIR_TRY(const sys::OwnedFd store, lock_store(folder_));
    WEIR_CHECK_OK(sweep());
  }
  WEIR_TRY(const std::vector<std::string> names, names_in(folder_));
  std::vector<Description> images;
  for (const std::string& name : names) {
    if (!is_image_name(name)) continue;
    auto description = description_in(folder_ + "/" + name);
    // Removed between the two looks.
    if (!description && description.error().code() == ENOENT) continue;
    if (!description) return std::unexpected(std::move(description).error());
    images.push_back(std::move(*description));
  }
  return images;
}

Result<> Store::remove(const std::string& name) {
  if (!is_image_name(name)) return no_such_image(name);
  const std::string folder = folder_ + "/" + name;
  std::string old;
  sys::OwnedFd lock;
  {
    WEIR_TRY(const sys::OwnedFd store, lock_store(folder_));
    WEIR_CHECK_OK(sweep());
    auto opened = open_folder(folder);
    if (!opened && opened.error().code() == ENOENT) return no_such_image(name);
    if (!opened) return std::unexpected(std::move(opened).error());
    lock = std::move(*opened);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      return std::unexpected(
          Error("image '" + name + "' is used by a running sandbox", EBUSY).with_remedy("end the sandbox first"));
    }
    // Before it has a name that only a sweep knows.
    if (const auto ids = ids_of(folder); !ids) {
      return std::unexpected(Error("cannot remove image '" + name + "': " + ids.error().what(), EPERM)
                                 .with_remedy("sudo rm -r " + folder));
    }
    WEIR_TRY(const std::string id, random_hex(8));
    old = folder_ + "/" + kOld + id;
    if (::rename(folder.c_str(), old.c_str()) != 0) return sys::errno_error("cannot remove " + folder);
  }
  return discard(old);
}

Result<Lease> Store::use(const std::string& name) const {
  const std::string folder = folder_ + "/" + name;
  if (!is_image_name(name)) return no_such_image(name);
  auto opened = open_folder(folder);
  if (!opened && opened.error().code() == ENOENT) return no_such_image(name);
  if (!opened) return std::unexpected(std::move(opened).error());
  if (::flock(opened->get(), LOCK_SH | LOCK_NB) != 0) return fail("image '" + name + "' is being removed", EBUSY);
  struct stat held{};
  struct stat named{};
  // Between opening and locking it may have been removed, and even replaced.
  if (::fstat(opened->get(), &held) != 0 || ::stat(folder.c_str(), &named) != 0 || held.st_ino != named.st_ino)
    return no_such_image(name);
  WEIR_TRY(Description description, description_in(folder));
  if (description.ids != ids_.text()) {
    return std::unexpected(Error("image '" + name + "' was imported with other user ids (" + description.ids +
                                 ") than you have now (" + ids_.text() + ")")
                               .with_remedy("weir image rm " + name + ", and import it again"));
  }
  return Lease(folder, std::move(description), ids_, std::move(*opened));
}

Result<Lease> Store::unpack_once(const std::string& source, Source::Kind kind) {
  WEIR_TRY(Begun begun, begin(kRun));
  WEIR_TRY(Description made, unpack_into(begun, source, kind, ""));
  Lease lease(begun.folder, std::move(made), ids_, std::move(begun.lock));
  lease.temporary_ = begun.folder;
  return lease;
}

bool is_image_name(std::string_view name) {
  const auto plain = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
  return !name.empty() && name.size() <= kMaxName && plain(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return plain(c) || c == '_' || c == '.' || c == ':' || c == '-'; });
}

}  // namespace weir::image
