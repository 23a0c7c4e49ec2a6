#include "supervisor/policy/sensitive_files.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "base/bytes.h"
#include "sys/errno.h"
#include "sys/folder.h"
#include "sys/lease.h"
#include "sys/mounts.h"

namespace weir::supervisor {

namespace {

// Folders too, so that a tree of empty ones ends as well.
constexpr std::size_t kMaxEntries = 65'536;
constexpr int kReadyMs = 10'000;

// What the guard says: a number of a file, and what is with it.
struct Word {
  enum class Kind : std::uint32_t { ready, not_leased, touched } kind = Kind::ready;
  std::uint32_t file = 0;
  std::uint32_t code = 0;  // errno
};

void say(sys::Channel& channel, const Word& word) {
  std::array<std::uint8_t, sizeof(Word)> bytes{};
  std::memcpy(bytes.data(), &word, sizeof word);
  // A supervisor that does not hear it is gone or stuck: the deadline tells.
  static_cast<void>(channel.send(bytes));
}

Result<std::optional<Word>> hear_word(sys::Channel& channel) {
  std::array<std::uint8_t, sizeof(Word)> bytes{};
  WEIR_TRY(const auto received, channel.receive(bytes));
  if (received.state == sys::Channel::Received::State::nothing) return std::nullopt;
  if (received.state == sys::Channel::Received::State::closed || received.message.size() != sizeof(Word))
    return fail("the guard of the sensitive files died");
  Word word;
  std::memcpy(&word, bytes.data(), sizeof word);
  return word;
}

// It holds leases and waits; all it can do to anybody is end the sandbox.
class Guard {
 public:
  Guard(std::vector<int> files, int init, sys::Channel supervisor)
      : files_(std::move(files)), init_(init), supervisor_(std::move(supervisor)) {}

  [[noreturn]] void run() {
    if (!prepare()) ::_exit(1);
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (const auto taken = sys::take_lease(files_[i]); !taken) {
        say(supervisor_, {.kind = Word::Kind::not_leased,
                          .file = static_cast<std::uint32_t>(i),
                          .code = static_cast<std::uint32_t>(taken.error().code())});
        ::_exit(1);
      }
    }
    say(supervisor_, {.kind = Word::Kind::ready});
    while (true) wait();
  }

 private:
  // Signals are for others: ^C means the command, and the end of the supervisor must be outlived.
  bool prepare() {
    ::prctl(PR_SET_NAME, "weir-guard", 0, 0, 0);
    static_cast<void>(::setpgid(0, 0));
    sigset_t all;
    ::sigfillset(&all);
    sigset_t wanted;
    ::sigemptyset(&wanted);
    ::sigaddset(&wanted, SIGIO);
    if (::sigprocmask(SIG_SETMASK, &all, nullptr) != 0) return false;
    breaks_ = sys::OwnedFd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    std::vector<int> kept = files_;
    kept.insert(kept.end(), {init_, supervisor_.fd(), breaks_.get()});
    return breaks_.valid() && sys::close_all_but(std::move(kept)).has_value();
  }

  void wait() {
    std::array<pollfd, 3> waiting = {pollfd{.fd = init_, .events = POLLIN, .revents = 0},
                                     pollfd{.fd = supervisor_.fd(), .events = POLLIN, .revents = 0},
                                     pollfd{.fd = breaks_.get(), .events = POLLIN, .revents = 0}};
    const int left = deadline_ == 0 ? -1 : static_cast<int>(std::max<std::int64_t>(0, deadline_ - now_ms()));
    const int ready = ::poll(waiting.data(), waiting.size(), left);
    if (waiting[0].revents != 0) ::_exit(0);  // nobody is left who could read anything
    if (ready > 0 && waiting[1].revents != 0) obey();
    if (ready > 0 && waiting[2].revents != 0) look();
    if (deadline_ != 0 && now_ms() >= deadline_) end_sandbox();
  }

  static std::int64_t now_ms() { return static_cast<std::int64_t>(sys::monotonic_ms()); }

  // A signal says that there is something; the leases say what.
  void look() {
    signalfd_siginfo info{};
    while (::read(breaks_.get(), &info, sizeof info) > 0) {
    }
    if (deadline_ != 0) return;
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (!sys::is_lease_wanted(files_[i])) continue;
      deadline_ = now_ms() + SensitiveFiles::kPatienceMs;
      return say(supervisor_, {.kind = Word::Kind::touched, .file = static_cast<std::uint32_t>(i)});
    }
  }

  // The one thing that is ever said to it is release(); an end is that of the supervisor.
  void obey() {
    std::array<std::uint8_t, 1> byte{};
    const auto received = supervisor_.receive(byte);
    if (!received || received->state != sys::Channel::Received::State::message) end_sandbox();
    for (const int file : files_) sys::give_back_lease(file);
    ::_exit(0);
  }

  // The leases are held until everything inside is gone: init is the last.
  [[noreturn]] void end_sandbox() {
    ::syscall(SYS_pidfd_send_signal, init_, SIGKILL, nullptr, 0);
    pollfd ended{.fd = init_, .events = POLLIN, .revents = 0};
    while (::poll(&ended, 1, -1) < 1) {
    }
    ::_exit(0);
  }

  std::vector<int> files_;
  int init_;
  sys::Channel supervisor_;
  sys::OwnedFd breaks_;
  std::int64_t deadline_ = 0;  // 0: nobody waits
};

Error cannot_lease(const std::string& path, int code) {
  const std::string what = "option --sensitive: the first open of " + path + " cannot be seen: ";
  if (code == EAGAIN) return Error(what + "it is open already", code).with_remedy("close it where it is open");
  if (code == EACCES) return Error(what + "it is another user's", code).with_remedy("start as its owner, or as root");
  if (code == EINVAL)
    return Error(what + "its file system has no leases", code).with_remedy("put it on a local file system");
  return Error(what + sys::errno_text(code), code);
}

Result<> check_patience() {
  WEIR_TRY(const auto patience, sys::lease_patience());
  constexpr auto kNeeded = std::chrono::milliseconds(SensitiveFiles::kPatienceMs) + std::chrono::seconds(5);
  if (!patience || *patience >= kNeeded) return {};
  return std::unexpected(Error("option --sensitive: this machine lets an open wait for " +
                               std::to_string(patience->count()) + " s only, and 15 s are needed")
                             .with_remedy("sudo sysctl fs.lease-break-time=45"));
}

std::size_t most_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  return static_cast<std::size_t>(std::min<rlim_t>(SensitiveFiles::kMaxFiles, limit.rlim_cur / 2));
}

}  // namespace

// Collects regular files, each inode once, without following a link.
class SensitiveFiles::Walk {
 public:
  Result<std::vector<File>> run(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      WEIR_TRY(sys::OwnedFd found, in_context(sys::open_without_links(path), "option --sensitive"));
      struct stat info{};
      if (::fstat(found.get(), &info) != 0) return sys::errno_error("option --sensitive: cannot look at " + path);
      WEIR_CHECK_OK(S_ISDIR(info.st_mode) ? add_folder(found.get(), ".", path) : add(found.get(), "", path, info));
      while (!folders_.empty()) {
        const auto [fd, folder] = std::move(folders_.back());
        folders_.pop_back();
        WEIR_CHECK_OK(read(fd, folder));
      }
    }
    if (!files_.empty()) return std::move(files_);
    return std::unexpected(Error("option --sensitive: there is no regular file in " + paths.front())
                               .with_remedy("name files, or a folder that holds them already"));
  }

 private:
  Result<> add_folder(int at, const char* name, const std::string& path) {
    constexpr int kHow = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    WEIR_TRY(sys::OwnedFd fd, sys::checked_fd(::openat(at, name, kHow), "option --sensitive: cannot read " + path));
    folders_.emplace_back(std::move(fd), path);
    return {};
  }

  Result<> read(const sys::OwnedFd& at, const std::string& path) {
    const sys::Folder folder = sys::folder_of(sys::OwnedFd(::fcntl(at.get(), F_DUPFD_CLOEXEC, 0)));
    if (!folder) return sys::errno_error("option --sensitive: cannot read " + path);
    while (const dirent* const entry = sys::next_entry(folder)) {
      const std::string below = path + "/" + entry->d_name;
      if (++entries_ > kMaxEntries) return too_many("entries", kMaxEntries, path);
      struct stat info{};
      if (::fstatat(at.get(), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return sys::errno_error("option --sensitive: cannot look at " + below);
      if (S_ISDIR(info.st_mode)) WEIR_CHECK_OK(add_folder(at.get(), entry->d_name, below));
      if (S_ISREG(info.st_mode)) WEIR_CHECK_OK(add(at.get(), entry->d_name, below, info));
    }
    if (errno != 0) return sys::errno_error("option --sensitive: cannot read " + path);
    return {};
  }

  // `name`: in the folder `at`; empty: `at` itself, which is open without being readable.
  Result<> add(int at, const char* name, const std::string& path, const struct stat& info) {
    if (!S_ISREG(info.st_mode)) {
      return std::unexpected(Error("option --sensitive: " + path + " is neither a file nor a folder")
                                 .with_remedy("name what holds the data"));
    }
    // Two names of one inode: a lease wants to be alone with it.
    if (!seen_.emplace(info.st_dev, info.st_ino).second) return {};
    if (files_.size() >= most_files()) return too_many("files", most_files(), path);
    const std::string where = name[0] == '\0' ? "/proc/self/fd/" + std::to_string(at) : name;
    const int how = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (name[0] == '\0' ? 0 : O_NOFOLLOW);
    sys::OwnedFd fd(::openat(at, where.c_str(), how));
    // Somebody else's lease: another sandbox has it.
    if (!fd.valid() && errno == EWOULDBLOCK) return std::unexpected(cannot_lease(path, EAGAIN));
    if (!fd.valid()) return sys::errno_error("option --sensitive: cannot open " + path);
    struct stat opened{};
    if (::fstat(fd.get(), &opened) != 0 || opened.st_dev != info.st_dev || opened.st_ino != info.st_ino)
      return fail("option --sensitive: " + path + " was replaced while it was looked at");
    files_.push_back({.path = path, .fd = std::move(fd)});
    return {};
  }

  static std::unexpected<Error> too_many(const char* what, std::size_t most, const std::string& path) {
    return std::unexpected(
        Error("option --sensitive: more than " + std::to_string(most) + " " + what + " (at " + path + ")")
            .with_remedy("name the ones that matter, or raise the limit of open files (ulimit -n)"));
  }

  std::vector<File> files_;
  std::vector<std::pair<sys::OwnedFd, std::string>> folders_;  // to be read
  std::set<std::pair<dev_t, ino_t>> seen_;
  std::size_t entries_ = 0;
};

SensitiveFiles::SensitiveFiles(sys::Reactor& reactor, std::vector<File> files, Callbacks callbacks)
    : reactor_(reactor),
      files_(std::move(files)),
      callbacks_(std::move(callbacks)),
      handler_([this](std::uint32_t) { hear(); }) {}

SensitiveFiles::~SensitiveFiles() {
  reactor_.cancel(next_look_);
  if (channel_.valid()) reactor_.forget(channel_.fd());
}

Result<std::unique_ptr<SensitiveFiles>> SensitiveFiles::guard(sys::Reactor& reactor,
                                                              const std::vector<std::string>& paths, int init,
                                                              Callbacks callbacks) {
  WEIR_CHECK_OK(check_patience());
  WEIR_TRY(std::vector<File> files, Walk().run(paths));
  std::unique_ptr<SensitiveFiles> self(new SensitiveFiles(reactor, std::move(files), std::move(callbacks)));
  WEIR_TRY(auto channels, sys::Channel::pair());
  WEIR_TRY(self->guard_, in_context(sys::ChildProcess::clone(0), "cannot start the guard of the sensitive files"));
  if (self->guard_.in_child()) self->be_guard(init, std::move(channels.second));
  channels.second = sys::Channel();
  self->channel_ = std::move(channels.first);
  WEIR_CHECK_OK(self->await_guard());
  WEIR_CHECK_OK(reactor.watch(self->channel_.fd(), EPOLLIN, self->handler_));
  self->look_later();
  return self;
}

void SensitiveFiles::be_guard(int init, sys::Channel supervisor) const {
  std::vector<int> files;
  files.reserve(files_.size());
  for (const File& each : files_) files.push_back(each.fd.get());
  Guard(std::move(files), init, std::move(supervisor)).run();
}

Result<> SensitiveFiles::await_guard() {
  pollfd readable{.fd = channel_.fd(), .events = POLLIN, .revents = 0};
  if (::poll(&readable, 1, kReadyMs) != 1) return fail("the guard of the sensitive files does not start");
  WEIR_TRY(const auto word, hear_word(channel_));
  if (word && word->kind == Word::Kind::ready) return {};
  if (word && word->kind == Word::Kind::not_leased && word->file < files_.size())
    return std::unexpected(cannot_lease(files_[word->file].path, static_cast<int>(word->code)));
  return fail("the guard of the sensitive files does not start");
}

void SensitiveFiles::hear() {
  const auto word = hear_word(channel_);
  if (!word) {
    reactor_.forget(channel_.fd());
    if (!released_) return callbacks_.lost(word.error().what());
    files_.clear();
    return;
  }
  if (*word && (*word)->kind == Word::Kind::touched && (*word)->file < files_.size())
    callbacks_.touched(files_[(*word)->file].path);
}

// The guard tells at once; this is for one that somebody has stopped.
void SensitiveFiles::look_later() {
  next_look_ = reactor_.at(reactor_.now_ms() + kLookMs, [this] {
    const auto touched =
        std::ranges::find_if(files_, [](const File& each) { return sys::is_lease_wanted(each.fd.get()); });
    if (touched != files_.end()) return callbacks_.touched(touched->path);
    look_later();
  });
}

// The guard gives the leases back and ends. One that does not hear it is dead or stopped: the sandbox is sealed by now,
// and whoever opens waits until the files are closed here, or for the kernel's patience.
void SensitiveFiles::release() {
  released_ = true;
  reactor_.cancel(next_look_);
  constexpr std::array<std::uint8_t, 1> kRelease = {1};
  static_cast<void>(channel_.send(kRelease));
}

}  // namespace weir::supervisor
