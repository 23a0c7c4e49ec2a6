#include "sandbox/shares/shares.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/path.h"
#include "changes/run_outside.h"
#include "sys/errno.h"
#include "sys/folder.h"

namespace weir::sandbox {
namespace {

// The root of the share and two levels below it: what people share by mistake has its sockets there (.X11-unix,
// docker.sock, an agent's folder). A deeper one still needs a process outside that serves it.
constexpr int kSocketDepth = 2;

std::unexpected<Error> refuse(std::string what, std::string remedy) {
  return std::unexpected(Error(std::move(what)).with_remedy(std::move(remedy)));
}

std::string resolved(const std::string& path) {
  std::array<char, PATH_MAX> real{};
  return path.empty() || ::realpath(path.c_str(), real.data()) == nullptr ? path : std::string(real.data());
}

// Whether `inner` is `outer` or below it. Both absolute and without links.
bool contains(const std::string& outer, const std::string& inner) {
  return outer == "/" || is_at_or_below(outer, inner);
}

// Looks for a socket below a folder. The path of the first, or nothing.
class SocketSearch {
 public:
  // An error: more entries than anybody wants to search.
  Result<std::string> below(int parent, const char* name, const std::string& path, int depth) {
    const sys::Folder folder = sys::folder_of(
        sys::OwnedFd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)));
    // What the caller cannot list, the sandbox cannot search by name either.
    if (folder == nullptr) return std::string();
    while (const dirent* entry = sys::next_entry(folder)) {
      if (++searched_ > kMaxSocketSearch) return fail("too many files to search for sockets");
      std::string entry_path = path + "/" + entry->d_name;
      const unsigned char type = type_of(::dirfd(folder.get()), *entry);
      if (type == DT_SOCK) return entry_path;
      if (type != DT_DIR || depth == 0) continue;
      WEIR_TRY(std::string found, below(::dirfd(folder.get()), entry->d_name, entry_path, depth - 1));
      if (!found.empty()) return found;
    }
    return std::string();
  }

 private:
  // Some file systems do not say in the listing.
  static unsigned char type_of(int folder, const dirent& entry) {
    if (entry.d_type != DT_UNKNOWN) return entry.d_type;
    struct stat status{};
    if (::fstatat(folder, entry.d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) return DT_UNKNOWN;
    return static_cast<unsigned char>(IFTODT(status.st_mode));
  }

  std::size_t searched_ = 0;
};

constexpr const char* kSocketRemedy =
    "share a folder further down, or a :copy or :overlay of it, or say --share-sockets";

Result<> refuse_well_known(const std::string& source, const Sharer& sharer) {
  struct Known {
    std::string path;
    const char* name;
  };
  const std::array<Known, 5> known = {Known{"/run", "/run"}, Known{"/tmp", "/tmp"}, Known{resolved("/var/run"), "/run"},
                                      Known{resolved(sharer.home), "$HOME"},
                                      Known{resolved(sharer.runtime_folder), "$XDG_RUNTIME_DIR"}};
  if (source == "/") return refuse("cannot share /: it holds the sockets of everything that runs", kSocketRemedy);
  for (const auto& [path, name] : known) {
    if (!path.starts_with('/') || !contains(source, path)) continue;
    return refuse("cannot share " + source + ": programs keep their sockets in " + name, kSocketRemedy);
  }
  return {};
}

Result<> refuse_sockets(const Share& share, const Sharer& sharer) {
  const bool live = share.access == Share::Access::read_write || share.access == Share::Access::read_only;
  if (!live || sharer.sockets == Sharer::Sockets::shared) return {};
  WEIR_CHECK_OK(refuse_well_known(share.source, sharer));
  struct stat status{};
  if (::lstat(share.source.c_str(), &status) != 0) return sys::errno_error("cannot share " + share.source);
  if (S_ISSOCK(status.st_mode))
    return refuse("cannot share " + share.source + ": it is a socket", "say --share-sockets");
  const auto found = SocketSearch().below(AT_FDCWD, share.source.c_str(), share.source, kSocketDepth);
  if (!found) return refuse("cannot share " + share.source + ": " + found.error().what(), kSocketRemedy);
  if (found->empty()) return {};
  return refuse("cannot share " + share.source + ": the socket " + *found + " leads past the network of the sandbox",
                kSocketRemedy);
}

// What is never shared, in no form: it is the host itself.
Result<> refuse_host_folders(const std::string& source) {
  for (const char* folder : {"/proc", "/sys", "/dev"}) {
    if (contains(folder, source))
      return refuse("cannot share " + source + ": it is the machine's, not a folder of files", "share something else");
  }
  return {};
}

Result<std::string> checked_source(std::string_view text, const Sharer& sharer) {
  if (text.empty()) return refuse("the folder to share is empty", "write SRC:DST, such as ./data:/data");
  if (!text.starts_with('/') && sharer.folder.empty())
    return refuse("'" + std::string(text) + "': the current folder is gone", "write an absolute path");
  const std::string path = text.starts_with('/') ? std::string(text) : sharer.folder + "/" + std::string(text);
  std::array<char, PATH_MAX> real{};
  if (::realpath(path.c_str(), real.data()) == nullptr) {
    const int code = errno;
    return std::unexpected(
        Error("cannot share " + path + ": " + sys::errno_text(code), code)
            .with_remedy(code == ENOENT ? "make it first, or correct the path" : "choose a path that you can reach"));
  }
  WEIR_CHECK_OK(refuse_host_folders(real.data()));
  return std::string(real.data());
}

// Absolute, without empty, "." and ".." parts.
Result<std::string> checked_target(std::string_view text) {
  if (!text.starts_with('/'))
    return refuse("'" + std::string(text) + "' is not absolute", "write the path as it is inside, such as /data");
  std::string path;
  for (std::string_view rest = text.substr(1); !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    if (part == "..") return refuse("'" + std::string(text) + "' contains '..'", "write the path without it");
    if (part.empty() || part == ".") continue;
    path += "/" + std::string(part);
  }
  if (path.empty()) return refuse("nothing can be shared as /", "choose a folder, such as /data");
  if (path.size() >= PATH_MAX) return fail("the path inside is longer than the kernel takes");
  for (const char* folder : {"/proc", "/dev", "/sys"}) {
    if (contains(folder, path))
      return refuse("'" + path + "' is the sandbox's own", "choose another place, such as /data");
  }
  return path;
}

Result<Share::Access> access_named(std::string_view name) {
  if (name == "rw") return Share::Access::read_write;
  if (name == "ro") return Share::Access::read_only;
  if (name == "copy") return Share::Access::copy;
  if (name == "overlay") return Share::Access::overlay;
  return refuse("'" + std::string(name) + "' is no way to share", "write ro, copy or overlay, or nothing");
}

Result<Share> parse_checked(std::string_view text, const Sharer& sharer) {
  if (text.find('\0') != std::string_view::npos) return fail("the path contains a NUL byte");
  std::vector<std::string_view> parts;
  for (std::string_view rest = text;;) {
    const std::size_t colon = rest.find(':');
    parts.push_back(rest.substr(0, colon));
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  if (parts.size() < 2) return refuse("it names no place inside", "write SRC:DST, such as ./data:/data");
  if (parts.size() > 3)
    return refuse("it has more than three parts",
                  "write SRC:DST[:ro|:copy|:overlay]; a path with ':' cannot be shared");
  Share share;
  if (parts.size() == 3) {
    WEIR_TRY(share.access, access_named(parts[2]));
  }
  WEIR_TRY(share.target, checked_target(parts[1]));
  WEIR_TRY(share.source, checked_source(parts[0], sharer));
  WEIR_CHECK_OK(refuse_sockets(share, sharer));
  return share;
}

std::vector<std::string> protected_below(const std::string& folder) {
  std::vector<std::string> paths(changes::kProtected.begin(), changes::kProtected.end());
  const auto is_there = [&](const char* name) {
    struct stat status{};
    return ::lstat((folder + "/" + name).c_str(), &status) == 0;
  };
  for (const char* name : changes::kProtectedIfThere) {
    if (is_there(name)) paths.emplace_back(name);
  }
  if (is_there(".git")) return paths;
  if (is_there(changes::kBareHead) && is_there("objects") && is_there("refs")) {
    paths.insert(paths.end(), changes::kProtectedInBare.begin(), changes::kProtectedInBare.end());
  } else {
    paths.emplace_back(changes::kBareHead);
  }
  return paths;
}

Result<Share> here(std::string_view form, const Sharer& sharer) {
  Share share;
  if (form == "ro") share.access = Share::Access::read_only;
  if (form == "overlay") share.access = Share::Access::overlay;
  if (!form.empty() && form != "ro" && form != "overlay" && form != "rw-all")
    return refuse("'" + std::string(form) + "' is no form of it",
                  "write --here, --here=ro, --here=overlay or --here=rw-all");
  WEIR_TRY(share.source, checked_source(".", sharer));
  if (contains(share.source, resolved(sharer.home)) && !sharer.home.empty())
    return refuse("the current folder is or contains the home folder", "change to a folder below it, or use -v");
  WEIR_TRY(share.target, checked_target(share.source));
  WEIR_CHECK_OK(refuse_sockets(share, sharer));
  if (form.empty()) share.read_only_below = protected_below(share.source);
  return share;
}

}  // namespace

Result<Share> parse_share(std::string_view text, const Sharer& sharer) {
  return in_context(parse_checked(text, sharer), "option -v '" + std::string(text) + "'");
}

Result<Share> share_here(std::string_view form, const Sharer& sharer) {
  return in_context(here(form, sharer), "option --here");
}

Result<> check_source(const Share& share, const Sharer& sharer) {
  WEIR_CHECK_OK(refuse_host_folders(share.source));
  return refuse_sockets(share, sharer);
}

Result<> check_shares(const std::vector<Share>& shares) {
  for (auto share = shares.begin(); share != shares.end(); ++share) {
    const auto same =
        std::find_if(shares.begin(), share, [&](const Share& other) { return other.target == share->target; });
    if (same != share)
      return refuse("both " + same->source + " and " + share->source + " are to be at " + share->target,
                    "choose another place for one of them");
  }
  return {};
}

}  // namespace weir::sandbox
