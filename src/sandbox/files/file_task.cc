#include "sandbox/files/file_task.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "changes/remove_tree.h"
#include "control/file_messages.h"
#include "sandbox/files/archive.h"
#include "sandbox/files/folder_list.h"
#include "sys/channel.h"
#include "sys/child_process.h"
#include "sys/errno.h"
#include "sys/open_resolved.h"

namespace weir::sandbox {
namespace {

using Do = control::StartFileTask::Do;

constexpr std::uint32_t kPermissions = 0777;

class Task {
 public:
  explicit Task(const FileTask& task)
      : order_(task.order), path_(task.path), supervisor_(sys::OwnedFd(task.supervisor.get())), pipe_(task.pipe) {}

  // Whoever waits is told how it ended.
  void run() {
    const auto done = work();
    if (done) return say(control::FileEnded{});
    say(failed(done.error()));
  }

  static control::FileFailed failed(const Error& error) {
    return {.code = static_cast<std::uint32_t>(error.code()), .what = error.what(), .remedy = error.remedy()};
  }

 private:
  Result<> work() {
    WEIR_CHECK_OK(check_path());
    switch (order_.what) {
      case Do::get:
        return get();
      case Do::put:
        return put();
      case Do::list:
        return list();
      case Do::stat:
        return stat();
      case Do::remove:
        return remove();
      case Do::make_folder: {
        WEIR_TRY(const sys::OwnedFd made, folder_at(path_));
        return answer({.type = control::FileType::folder});
      }
      case Do::tar:
        return tar();
      case Do::untar:
        return untar(Archive::of_files);
      case Do::merge:
        return untar(Archive::of_changes);
      case Do::count_:
        break;
    }
    return fail("there is no such task", ENOSYS);
  }

  Result<> check_path() const {
    if (!path_.starts_with('/')) return broken(EINVAL, "is not absolute");
    if (path_.size() >= PATH_MAX) return broken(ENAMETOOLONG);
    return {};
  }

  std::unexpected<Error> broken(int code, const std::string& why) const {
    const std::string shown = path_.size() > 200 ? path_.substr(0, 200) + "..." : path_;
    return fail(shown + " (inside): " + why, code);
  }
  std::unexpected<Error> broken(int code) const { return broken(code, sys::errno_text(code)); }

  static sys::OwnedFd open(const std::string& path, int flags) {
    return sys::open_resolved(AT_FDCWD, path, flags | O_NONBLOCK | O_NOCTTY, 0);
  }

  Result<> get() {
    const sys::OwnedFd file = open(path_, O_RDONLY);
    // ENXIO: a socket, or a device without hardware.
    if (!file.valid() && errno == ENXIO) return broken(EINVAL, "is not a regular file");
    if (!file.valid()) return broken(errno);
    struct stat status{};
    if (::fstat(file.get(), &status) != 0) return broken(errno);
    if (S_ISDIR(status.st_mode)) return broken(EISDIR);
    if (!S_ISREG(status.st_mode)) return broken(EINVAL, "is not a regular file");
    if (!is_stored_file(file.get())) return broken(EINVAL, "is made up by the kernel; run a program that reads it");
    return answer(described(status), file.get());
  }

  // Of a link the link itself.
  Result<> stat() {
    const sys::OwnedFd file = sys::open_resolved(AT_FDCWD, path_, O_PATH | O_NOFOLLOW, 0);
    struct stat status{};
    if (!file.valid() || ::fstat(file.get(), &status) != 0) return broken(errno);
    return answer(described(status));
  }

  static control::FileAnswered described(const struct stat& status) {
    return {.bytes = static_cast<std::uint64_t>(status.st_size),
            .mode = status.st_mode & 07777,
            .modified = static_cast<std::uint64_t>(status.st_mtim.tv_sec),
            .type = type_of(status.st_mode)};
  }

  struct Place {
    sys::OwnedFd folder;
    std::string name;
  };
  // Where the last name of the path is made or removed. A link there is not followed.
  enum class Parents : std::uint8_t { as_they_are, made };
  Result<Place> place(Parents parents) {
    const std::size_t slash = path_.rfind('/');
    Place place{.folder = {}, .name = path_.substr(slash + 1)};
    if (place.name.empty() || place.name == "." || place.name == "..") return broken(EINVAL, "names no file");
    if (place.name.size() > NAME_MAX) return broken(ENAMETOOLONG);
    const std::string folder = path_.substr(0, std::max<std::size_t>(slash, 1));
    if (parents == Parents::made) {
      WEIR_TRY(place.folder, folder_at(folder));
    } else {
      place.folder = sys::open_resolved(AT_FDCWD, folder, O_PATH | O_DIRECTORY, 0);
      if (!place.folder.valid()) return broken(errno);
    }
    return place;
  }

  // Makes what is missing of it.
  Result<sys::OwnedFd> folder_at(const std::string& path) {
    sys::OwnedFd folder = sys::open_resolved(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
    if (folder.valid()) return folder;
    if (errno != ENOENT) return broken(errno);
    folder = sys::open_resolved(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
    for (std::size_t begin = 1; folder.valid() && begin <= path.size();) {
      const std::size_t end = std::min(path.find('/', begin), path.size());
      const std::string name = path.substr(begin, end - begin);
      begin = end + 1;
      if (name.empty()) continue;
      if (name != ".." && ::mkdirat(folder.get(), name.c_str(), 0755) != 0 && errno != EEXIST) {
        // Where a folder is that others cannot write to: the next one tells whether that matters.
        const int code = errno;
        if (::faccessat(folder.get(), name.c_str(), F_OK, 0) != 0) return broken(code);
      }
      folder = sys::open_resolved(folder.get(), name, O_PATH | O_DIRECTORY, 0);
    }
    if (!folder.valid()) return broken(errno);
    return folder;
  }

  Result<> put() {
    WEIR_TRY(const Place place, this->place(Parents::made));
    struct stat there{};
    if (::fstatat(place.folder.get(), place.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(there.st_mode))
      return broken(EISDIR);
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != sizeof random) return broken(errno);
    std::array<char, 32> name_text{};
    static_cast<void>(std::snprintf(name_text.data(), name_text.size(), ".weir-put-%016llx",
                                    static_cast<unsigned long long>(random)));
    const std::string name = name_text.data();
    const sys::OwnedFd file = sys::open_resolved(place.folder.get(), name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
                                                 sys::kBeneath, S_IRUSR | S_IWUSR);
    if (!file.valid()) return broken(errno);
    const auto stood = put_in_place(place, name, file);
    if (!stood) ::unlinkat(place.folder.get(), name.c_str(), 0);
    return stood;
  }

  Result<> put_in_place(const Place& place, const std::string& temporary, const sys::OwnedFd& file) {
    struct stat status{};
    if (::fstat(file.get(), &status) != 0) return broken(errno);
    WEIR_CHECK_OK(answer(described(status), file.get()));
    if (!wait_for_commit()) return fail("the file was not completed", ECANCELED);
    if (::fchmod(file.get(), order_.mode & kPermissions) != 0) return broken(errno);
    if (::renameat(place.folder.get(), temporary.c_str(), place.folder.get(), place.name.c_str()) != 0)
      return broken(errno);
    return {};
  }

  bool wait_for_commit() {
    while (true) {
      pollfd waiting{.fd = supervisor_.fd(), .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, -1) < 0) continue;
      std::array<std::uint8_t, control::kMaxMessage> buffer;
      const auto received = supervisor_.receive(buffer, 0);
      if (!received || received->state == sys::Channel::Received::State::closed) return false;
      if (received->state == sys::Channel::Received::State::nothing) continue;
      return control::decode<control::ToFileTask>(received->message).has_value();
    }
  }

  Result<sys::OwnedFd> open_folder() {
    sys::OwnedFd folder = open(path_, O_RDONLY | O_DIRECTORY);
    if (!folder.valid()) return broken(errno);
    return folder;
  }

  Result<> list() {
    WEIR_TRY(const sys::OwnedFd folder, open_folder());
    WEIR_CHECK_OK(answer({.type = control::FileType::folder}));
    return list_folder(folder, order_.recursive ? Depth::everything : Depth::one, pipe_);
  }

  Result<> tar() {
    WEIR_TRY(const sys::OwnedFd folder, open_folder());
    if (is_made_up(folder.get())) return broken(EINVAL, "is made up by the kernel");
    WEIR_CHECK_OK(answer({.type = control::FileType::folder}));
    return write_archive(folder, pipe_);
  }

  Result<> untar(Archive kind) {
    WEIR_TRY(const sys::OwnedFd folder, folder_at(path_));
    WEIR_CHECK_OK(answer({.type = control::FileType::folder}));
    const Result<> read = read_archive(pipe_, folder, kind);
    // Without an errno it is the archive that is wrong, and not this machine.
    if (read || read.error().code() != 0) return read;
    return std::unexpected(Error(read.error().what(), EINVAL).with_remedy(read.error().remedy()));
  }

  Result<> remove() {
    WEIR_TRY(const Place place, this->place(Parents::as_they_are));
    struct stat there{};
    if (::fstatat(place.folder.get(), place.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) return broken(errno);
    if (S_ISDIR(there.st_mode) && order_.recursive) {
      if (!changes::remove_tree(place.folder, place.name)) return broken(EPERM, "not all of it could be removed");
    } else if (::unlinkat(place.folder.get(), place.name.c_str(), S_ISDIR(there.st_mode) ? AT_REMOVEDIR : 0) != 0) {
      return broken(errno);
    }
    return answer({.type = type_of(there.st_mode)});
  }

  Result<> answer(const control::FileAnswered& answered, int passed = -1) {
    return say(control::FromFileTask(answered), passed);
  }
  void say(const control::FromFileTask& message) { static_cast<void>(say(message, -1)); }
  Result<> say(const control::FromFileTask& message, int passed) {
    std::array<std::uint8_t, control::kMaxMessage> buffer;
    return supervisor_.send(control::encode(message, buffer), passed);
  }

  const control::StartFileTask& order_;
  const std::string& path_;
  sys::Channel supervisor_;
  sys::OwnedFd pipe_;
};

}  // namespace

void run_file_task(const FileTask& task) {
  ::prctl(PR_SET_NAME, "weir-file", 0, 0, 0);
  ::signal(SIGPIPE, SIG_IGN);
  ::umask(022);
  std::vector<int> kept = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, task.supervisor.get()};
  if (task.pipe >= 0) kept.push_back(task.pipe);
  if (!sys::close_all_but(kept)) ::_exit(1);
  Task(task).run();
  ::_exit(0);
}

void say_failed(const sys::OwnedFd& supervisor, const Error& error) {
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  sys::Channel channel(sys::OwnedFd(supervisor.get()));
  static_cast<void>(channel.send(control::encode(control::FromFileTask(Task::failed(error)), buffer)));
  static_cast<void>(channel.take().release());  // the caller's
}

bool is_stored_file(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && !is_made_up(fd);
}

}  // namespace weir::sandbox
