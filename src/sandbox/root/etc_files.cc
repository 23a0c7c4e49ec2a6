#include "sandbox/root/etc_files.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "sandbox/root/root_files.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"
#include "sys/mounts.h"

namespace weir::sandbox {
namespace {

// Up to this size a copy is cheaper than a mount.
constexpr off_t kMaxCopied = 16 * 1024;

// Names of the host's /etc that show inside. Nothing here holds secrets or says who uses the machine. Certificates come
// apart from the keys beside them (kCertificates).
// Every folder here costs each start a mount, so programs that only read a README there do without.
constexpr std::array kTaken = {"alternatives", "bash.bashrc",  "debian_version", "fonts",      "inputrc",
                               "ld.so.cache",  "locale.alias", "localtime",      "mime.types", "os-release",
                               "protocols",    "profile",      "services",       "timezone"};

// Folders of folders, of which only these parts show: /etc/ssl/private and /etc/pki/tls/private do not.
struct Part {
  const char* folder;
  const char* path;
};
constexpr std::array<Part, 5> kCertificates = {Part{"etc/ssl", "ssl/certs"}, Part{"etc/ssl", "ssl/openssl.cnf"},
                                               Part{"etc/pki", "pki/ca-trust"}, Part{"etc/pki/tls", "pki/tls/certs"},
                                               Part{"etc/pki/tls", "pki/tls/openssl.cnf"}};

// A file that the caller may not read is left out: the sandbox could not read it either.
Result<> copy_file(const std::string& host_path, const std::string& path) {
  const auto content = sys::read_file(host_path, kMaxCopied);
  if (!content && (content.error().code() == EACCES || content.error().code() == ENOENT)) return {};
  if (!content) return std::unexpected(content.error());
  return make_file(path, *content);
}

Result<> mount_read_only(const std::string& host_path, const std::string& path, WaitingMounts& mounts) {
  constexpr std::uint64_t kHarmless = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  WEIR_TRY(sys::OwnedFd mount, sys::clone_mount(AT_FDCWD, host_path, sys::Submounts::included, kHarmless));
  mounts.push_back({.mount = std::move(mount), .path = path});
  return {};
}

// `name`: a path below /etc.
Result<> take(const std::string& name, WaitingMounts& mounts) {
  const std::string host_path = "/etc/" + name;
  const std::string path = "etc/" + name;
  struct stat status{};
  if (::lstat(host_path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == EACCES) return {};
    return sys::errno_error("cannot look at " + host_path);
  }
  if (S_ISLNK(status.st_mode)) return copy_link(host_path, path);
  if (S_ISREG(status.st_mode) && status.st_size <= kMaxCopied) return copy_file(host_path, path);
  if (S_ISDIR(status.st_mode)) {
    WEIR_CHECK_OK(make_folder(path, 0755));
  } else if (S_ISREG(status.st_mode)) {
    WEIR_CHECK_OK(make_file(path, ""));
  } else {
    return {};
  }
  return mount_read_only(host_path, path, mounts);
}

// Debian keeps the settings of a Java in /etc/java-17-openjdk and the like. Only where there is one: to read all names
// of /etc takes longer than to take those above.
Result<> take_java(WaitingMounts& mounts) {
  if (::access("/usr/lib/jvm", F_OK) != 0) return {};
  const sys::Folder folder(::opendir("/etc"));
  if (folder == nullptr) return sys::errno_error("cannot list /etc");
  while (const dirent* entry = sys::next_entry(folder)) {
    if (std::string_view(entry->d_name).starts_with("java-")) WEIR_CHECK_OK(take(entry->d_name, mounts));
  }
  return {};
}

Result<> take_certificates(WaitingMounts& mounts) {
  for (const auto& [folder, name] : kCertificates) {
    if (::access(("/etc/" + std::string(name)).c_str(), F_OK) != 0) continue;
    for (std::size_t slash = 4; slash != std::string::npos;) {
      slash = std::string_view(folder).find('/', slash);
      const std::string part = std::string(folder).substr(0, slash);
      if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) return sys::errno_error("cannot make /" + part);
      if (slash != std::string::npos) ++slash;
    }
    WEIR_CHECK_OK(take(name, mounts));
  }
  return {};
}

Result<> make_users(const User& user) {
  std::string passwd = "root:x:0:0:root:/root:/bin/sh\n";
  std::string group = "root:x:0:\ntty:x:5:\n";
  if (user.uid != 0) {
    passwd += passwd_line(user);
    group += group_line(user);
  }
  WEIR_CHECK_OK(make_file("etc/passwd", passwd + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"));
  return make_file("etc/group", group + "nogroup:x:65534:\n");
}

}  // namespace

std::string passwd_line(const User& user) {
  return user.name + ":x:" + std::to_string(user.uid) + ":" + std::to_string(user.gid) + ":" + user.name + ":" +
         user.home + ":/bin/sh\n";
}

std::string group_line(const User& user) {
  return user.name + ":x:" + std::to_string(user.gid) + ":\n";
}

Result<> make_names(const Spec& spec) {
  WEIR_CHECK_OK(make_file("etc/hostname", spec.hostname + "\n"));
  if (spec.network == Network::host) {
    WEIR_CHECK_OK(copy_file("/etc/hosts", "etc/hosts"));
    return copy_file("/etc/resolv.conf", "etc/resolv.conf");
  }
  WEIR_CHECK_OK(make_file(
      "etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 " + spec.hostname + "\n"));
  const bool captured = spec.network == Network::captured;
  return make_file("etc/resolv.conf", captured ? "nameserver " + spec.addresses.gateway4.text() + "\n" : "");
}

Result<> make_etc(const Spec& spec, WaitingMounts& mounts) {
  WEIR_CHECK_OK(make_folder("etc", 0755));
  WEIR_CHECK_OK(make_users(spec.user));
  WEIR_CHECK_OK(make_names(spec));
  WEIR_CHECK_OK(make_file("etc/nsswitch.conf",
                          "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
                          "protocols: files\nservices: files\n"));
  WEIR_CHECK_OK(take_certificates(mounts));
  for (const char* name : kTaken) WEIR_CHECK_OK(take(name, mounts));
  return take_java(mounts);
}

}  // namespace weir::sandbox
