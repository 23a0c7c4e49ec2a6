#include "sys/unix_listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "sys/errno.h"
#include "sys/files.h"

namespace weir::sys {

namespace {

constexpr int kBacklog = 128;

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return std::unexpected(Error("the path of a socket is too long: " + path)
                               .with_remedy("it can have " + std::to_string(sizeof address.sun_path - 1) + " bytes"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

std::string path_in(const OwnedFd& folder, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(folder.get()) + "/" + name;
}

// Who may write the folder could put another socket in the place of this one.
Result<> check_folder(const OwnedFd& folder, const std::string& path) {
  struct stat info{};
  if (::fstat(folder.get(), &info) != 0) return errno_error("cannot look at the folder of " + path);
  if (info.st_uid == ::geteuid() && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
  return std::unexpected(Error("others may write the folder of " + path)
                             .with_remedy("make the socket in a folder of your own, mode 0700"));
}

// How many pid namespaces deep a process lives, as this one sees it (proc(5), NSpid: world-readable, unlike its
// namespaces); 0: that cannot be told.
std::size_t depth_of(const std::string& process) {
  constexpr std::size_t kMaxStatus = 64 * 1024;
  const auto status = read_file("/proc/" + process + "/status", kMaxStatus);
  if (!status) return 0;
  const std::size_t begin = status->find("\nNSpid:");
  if (begin == std::string::npos) return 0;
  const std::size_t end = status->find('\n', begin + 1);
  return static_cast<std::size_t>(std::ranges::count(status->substr(begin, end - begin), '\t'));
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

// Whether the process that connected lives as deep as this one. Where the kernel pins it (6.5), it still lives when its
// depth was read, so that the number was not another's.
bool lives_here(const OwnedFd& socket, pid_t peer) {
  int pinned = -1;
  socklen_t size = sizeof pinned;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERPIDFD, &pinned, &size) != 0 && errno != ENOPROTOOPT) return false;
  const OwnedFd process(pinned);
  const std::size_t depth = depth_of(std::to_string(peer));
  if (depth == 0 || depth != depth_of("self")) return false;
  pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
  return !process.valid() || ::poll(&ended, 1, 0) == 0;
}

}  // namespace

Result<UnixListener> UnixListener::create(const std::string& path) {
  WEIR_CHECK_OK(address_of(path));  // those who connect must be able to name it
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") return fail("no name for a socket: " + path);
  WEIR_TRY(OwnedFd held,
           checked_fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), "cannot open the folder of " + path));
  return create_as(std::move(held), name, path);
}

Result<UnixListener> UnixListener::create_in(OwnedFd folder, const std::string& name) {
  return create_as(std::move(folder), name, name);
}

// `path`: for messages.
Result<UnixListener> UnixListener::create_as(OwnedFd folder, const std::string& name, const std::string& path) {
  WEIR_CHECK_OK(check_folder(folder, path));
  WEIR_TRY(OwnedFd socket,
           checked_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "cannot make a unix socket"));
  UnixListener listener(std::move(folder), std::move(socket), name);
  WEIR_CHECK_OK(listener.bind(path));
  return listener;
}

Result<> UnixListener::bind(const std::string& path) {
  // unix(7): the name gets the mode of the socket, so there is no moment at which others may connect.
  if (::fchmod(socket_.get(), 0600) != 0) return errno_error("cannot prepare the socket " + path);
  // By way of the folder that was looked at, whatever the path leads to by now.
  WEIR_TRY(const sockaddr_un address, address_of(path_in(folder_, name_)));
  if (::bind(socket_.get(), generic(address), sizeof address) != 0) {
    const int cause = errno;
    if (cause != EADDRINUSE) return errno_error("cannot make the socket " + path, cause);
    return std::unexpected(Error("cannot make the socket " + path + ": something is there already")
                               .with_remedy("name another one, or remove it when no sandbox listens there"));
  }
  struct stat info{};
  if (::fstatat(folder_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISSOCK(info.st_mode)) {
    return errno_error("cannot find the socket " + path);
  }
  device_ = info.st_dev;
  inode_ = info.st_ino;
  if (::listen(socket_.get(), kBacklog) != 0) return errno_error("cannot listen on " + path);
  return {};
}

UnixListener::~UnixListener() {
  remove_name();
}

void UnixListener::remove_name() {
  struct stat info{};
  if (!folder_.valid() || inode_ == 0) return;
  if (::fstatat(folder_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return;
  if (info.st_dev == device_ && info.st_ino == inode_) ::unlinkat(folder_.get(), name_.c_str(), 0);
}

// Kernel: unix_stream_connect() looks at this and queues under one lock (net/unix/af_unix.c).
void UnixListener::shut() {
  ::shutdown(socket_.get(), SHUT_RD);
}

Result<> UnixListener::open_again() {
  remove_name();
  inode_ = 0;
  WEIR_TRY(socket_,
           checked_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "cannot make a unix socket"));
  return bind(name_);
}

UnixListener::Accepted UnixListener::accept() const {
  Accepted accepted;
  accepted.socket = OwnedFd(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!accepted.socket.valid()) return accepted;
  const bool known = ::getsockopt(accepted.socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  const bool same = known && size == sizeof peer && peer.uid == ::geteuid();
  if (same && lives_here(accepted.socket, peer.pid)) accepted.peer = Accepted::Peer::same_user;
  return accepted;
}

namespace {

// `name`: for messages.
Result<OwnedFd> connect_to(const std::string& path, const std::string& name, WhenFull when_full) {
  WEIR_TRY(const sockaddr_un address, address_of(path));
  const int flags = SOCK_CLOEXEC | (when_full == WhenFull::refuse ? SOCK_NONBLOCK : 0);
  WEIR_TRY(OwnedFd socket, checked_fd(::socket(AF_UNIX, SOCK_STREAM | flags, 0), "cannot make a unix socket"));
  if (::connect(socket.get(), generic(address), sizeof address) != 0) {
    return errno_error("cannot reach the sandbox at " + name);
  }
  return socket;
}

}  // namespace

Result<OwnedFd> connect_unix(const std::string& path) {
  return connect_to(path, path, WhenFull::wait);
}

Result<OwnedFd> connect_unix_in(const OwnedFd& folder, const std::string& name, WhenFull when_full) {
  return connect_to(path_in(folder, name), name, when_full);
}

}  // namespace weir::sys
