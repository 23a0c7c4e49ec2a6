#include "cli/session/copy.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/failure_line.h"
#include "cli/session/byte_mover.h"
#include "cli/session/reach.h"
#include "sandbox/files/archive.h"
#include "sys/errno.h"
#include "sys/pending_file.h"

namespace weir::cli {
namespace {

using Do = wire::FileRequest::Do;
using session::Connection;
using session::Registry;

constexpr std::string_view kFolder = "folder";

std::string last_part(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return std::string(path.substr(path.rfind('/') + 1));
}

std::string below(std::string folder, const std::string& name) {
  if (!folder.ends_with('/')) folder += '/';
  return folder + name;
}

std::string named(const CopyPlace& place) {
  if (place.inside()) return place.session + ":" + place.path;
  return place.is_standard() ? "standard input or output" : place.path;
}

// Nothing where there is nothing.
Result<std::optional<wire::FileInfo>> look_inside(const Registry& registry, const CopyPlace& place) {
  auto answer = session::ask(registry, place.session, wire::FileRequest{.what = Do::stat, .path = place.path},
                             sys::monotonic_ms() + kPatienceMs);
  if (!answer && answer.error().code == wire::ErrorCode::not_found) {
    // Either the file or the session: the session says so itself.
    WEIR_CHECK_OK(result_of(registry.find(place.session)));
    return std::nullopt;
  }
  WEIR_TRY(wire::FileInfo info, reply_as<wire::FileInfo>(std::move(answer)));
  return std::optional(std::move(info));
}

Result<sys::OwnedFd> only_descriptor(Connection::Reply& reply) {
  if (reply.passed.size() != 1) return fail("the session answered without a file");
  return std::move(reply.passed.front());
}

struct LocalFile {
  sys::OwnedFd fd;
  struct stat status{};
};

Result<LocalFile> open_here(const CopyPlace& place) {
  LocalFile file;
  const int fd = place.is_standard() ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                     : ::open(place.path.c_str(), O_RDONLY | O_CLOEXEC);
  WEIR_TRY(file.fd, sys::checked_fd(fd, "cannot read " + named(place)));
  if (::fstat(file.fd.get(), &file.status) != 0) return sys::errno_error("cannot look at " + named(place));
  return file;
}

Result<> put_file(const Registry& registry, const LocalFile& file, const CopyPlace& from, const CopyPlace& to,
                  Progress wanted) {
  constexpr mode_t kFresh = 0644;
  const mode_t mode = S_ISREG(file.status.st_mode) ? file.status.st_mode & 0777 : kFresh;
  WEIR_TRY(Connection connection, result_of(Connection::open(registry, to.session)));
  WEIR_CHECK_OK(result_of(connection.send(wire::FileRequest{.what = Do::put, .path = to.path, .mode = mode})));
  WEIR_TRY(Connection::Reply reply, result_of(connection.receive(sys::monotonic_ms() + kPatienceMs)));
  WEIR_TRY(const sys::OwnedFd target, only_descriptor(reply));
  const auto size = S_ISREG(file.status.st_mode) ? static_cast<std::uint64_t>(file.status.st_size) : 0;
  ProgressLine progress(last_part(to.path), size, wanted);
  WEIR_CHECK_OK(move_bytes(file.fd.get(), named(from), target.get(), named(to), progress));
  WEIR_CHECK_OK(result_of(connection.send_line(wire::kCommitLine)));
  WEIR_TRY(const auto done, result_of(connection.receive()));
  static_cast<void>(done);
  return {};
}

// "." and what ends with it means what is in the folder, not the folder.
bool means_contents(const std::string& path) {
  const std::string name = last_part(path);
  return name == "." || name == "..";
}

// Of a folder: its archive goes through the pipe that the session opened, and the session says how it ended.
Result<Connection> open_archive(const Registry& registry, const CopyPlace& place, Do what, sys::OwnedFd& pipe) {
  WEIR_TRY(Connection connection, result_of(Connection::open(registry, place.session)));
  WEIR_CHECK_OK(result_of(connection.send(wire::FileRequest{.what = what, .path = place.path})));
  WEIR_TRY(Connection::Reply reply, result_of(connection.receive(sys::monotonic_ms() + kPatienceMs)));
  WEIR_TRY(pipe, only_descriptor(reply));
  return connection;
}

// What the session says of its side is the cause where both sides failed.
Result<> conclude_archive(Connection& connection, Result<> here) {
  const auto there = connection.receive(sys::monotonic_ms() + kPatienceMs);
  if (!there && there.error().code != wire::ErrorCode::timeout) return std::unexpected(error_of(there.error()));
  return here;
}

Result<> put_folder(const Registry& registry, const LocalFile& folder, const CopyPlace& from, const CopyPlace& to) {
  // A session that has gone is an error of write().
  ::signal(SIGPIPE, SIG_IGN);
  sys::OwnedFd pipe;
  WEIR_TRY(Connection connection, open_archive(registry, to, Do::untar, pipe));
  const auto written = in_context(sandbox::write_archive(folder.fd, pipe), named(from));
  pipe.reset();
  // Half an archive must not be taken for a whole one: without its end it is refused inside.
  return conclude_archive(connection, written);
}

Result<> copy_in(const Registry& registry, const CopyPlace& from, CopyPlace to, Progress progress) {
  WEIR_TRY(const LocalFile file, open_here(from));
  const bool folder = S_ISDIR(file.status.st_mode);
  WEIR_TRY(const auto there, look_inside(registry, to));
  if (to.path.ends_with('/') || (there && there->type == kFolder)) {
    if (from.is_standard()) {
      return std::unexpected(
          Error(named(to) + " is a folder").with_remedy("name the file that standard input becomes"));
    }
    if (!folder || !means_contents(from.path)) to.path = below(to.path, last_part(from.path));
  }
  return folder ? put_folder(registry, file, from, to) : put_file(registry, file, from, to, progress);
}

// A regular file of this machine is replaced whole; whatever else stands there (a device, a pipe) is written to.
Result<> write_here(const sys::OwnedFd& source, const wire::FileInfo& info, const CopyPlace& from, const CopyPlace& to,
                    ProgressLine& progress) {
  struct stat status{};
  const bool exists = ::stat(to.path.c_str(), &status) == 0;
  if (!exists && errno != ENOENT) return sys::errno_error("cannot look at " + to.path);
  if (exists && !S_ISREG(status.st_mode)) {
    WEIR_TRY(const sys::OwnedFd target,
             sys::checked_fd(::open(to.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY), "cannot write " + to.path));
    WEIR_CHECK_OK(move_bytes(source.get(), named(from), target.get(), to.path, progress, info.bytes));
    return {};
  }
  WEIR_TRY(const sys::PendingFile pending, sys::PendingFile::prepare(to.path));
  const auto fill = [&](const sys::OwnedFd& target) -> Result<> {
    WEIR_CHECK_OK(move_bytes(source.get(), named(from), target.get(), to.path, progress, info.bytes));
    return {};
  };
  return pending.write(fill, info.mode & 0777);
}

Result<> get_file(const Registry& registry, const CopyPlace& from, const CopyPlace& to, Progress wanted) {
  WEIR_TRY(Connection connection, result_of(Connection::open(registry, from.session)));
  WEIR_CHECK_OK(result_of(connection.send(wire::FileRequest{.what = Do::get, .path = from.path})));
  WEIR_TRY(Connection::Reply reply, result_of(connection.receive(sys::monotonic_ms() + kPatienceMs)));
  const auto* info = reply.as<wire::FileInfo>();
  if (info == nullptr) return fail("the session answered something else than it was asked for");
  WEIR_TRY(const sys::OwnedFd source, only_descriptor(reply));
  ProgressLine progress(last_part(from.path), info->bytes, to.is_standard() ? Progress::hidden : wanted);
  if (!to.is_standard()) return write_here(source, *info, from, to, progress);
  WEIR_CHECK_OK(move_bytes(source.get(), named(from), STDOUT_FILENO, named(to), progress, info->bytes));
  return {};
}

// The archive is the guest's: every entry goes below the new folder and through no link.
Result<> get_folder(const Registry& registry, const CopyPlace& from, const CopyPlace& to) {
  sys::OwnedFd pipe;
  WEIR_TRY(Connection connection, open_archive(registry, from, Do::tar, pipe));
  if (to.is_standard()) {
    ProgressLine none("", 0, Progress::hidden);
    WEIR_CHECK_OK(move_bytes(pipe.get(), named(from), STDOUT_FILENO, named(to), none));
    return conclude_archive(connection, {});
  }
  if (::mkdir(to.path.c_str(), 0777) != 0 && errno != EEXIST) return sys::errno_error("cannot make " + to.path);
  WEIR_TRY(const sys::OwnedFd folder,
           sys::checked_fd(::open(to.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "cannot open " + to.path));
  const auto read = in_context(sandbox::read_archive(pipe, folder), named(from));
  pipe.reset();
  return conclude_archive(connection, read);
}

Result<> copy_out(const Registry& registry, const CopyPlace& from, CopyPlace to, Progress wanted) {
  WEIR_TRY(const auto there, look_inside(registry, from));
  if (!there) return fail("there is no " + named(from), ENOENT);
  const bool folder = there->type == kFolder;
  struct stat status{};
  const bool into = to.path.ends_with('/') || (::stat(to.path.c_str(), &status) == 0 && S_ISDIR(status.st_mode));
  if (!to.is_standard() && into && !(folder && means_contents(from.path)))
    to.path = below(to.path, last_part(from.path));
  return folder ? get_folder(registry, from, to) : get_file(registry, from, to, wanted);
}

}  // namespace

Result<CopyPlace> parse_copy_place(std::string_view text) {
  if (text.empty())
    return std::unexpected(Error("weir session cp: an empty path").with_remedy("write ID:PATH or PATH"));
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || text.find('/') < colon)
    return CopyPlace{.session = {}, .path = std::string(text)};
  CopyPlace place{.session = std::string(text.substr(0, colon)), .path = std::string(text.substr(colon + 1))};
  if (place.path.starts_with('/')) return place;
  return std::unexpected(
      Error(quoted(text) + ": a path inside begins with a slash")
          .with_remedy("write " + place.session + ":/PATH, or ./" + std::string(text) + " for a file of this machine"));
}

Result<> copy(const Registry& registry, const CopyPlace& from, const CopyPlace& to, Progress progress) {
  if (from.inside() == to.inside()) {
    return std::unexpected(
        Error(from.inside() ? "weir session cp: both sides are inside" : "weir session cp: neither side is a session's")
            .with_remedy("write ID:PATH for the one that is inside"));
  }
  return from.inside() ? copy_out(registry, from, to, progress) : copy_in(registry, from, to, progress);
}

}  // namespace weir::cli
