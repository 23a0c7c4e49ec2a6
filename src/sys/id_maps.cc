#include "sys/id_maps.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "sys/errno.h"
#include "sys/files.h"
#include "sys/owned_fd.h"

namespace weir::sys {
namespace {

constexpr std::size_t kMaxIdMap = 64 * 1024;  // 340 lines is what the kernel takes

// The next number of a map, or nothing at its end. The kernel writes numbers, spaces and newlines.
std::optional<std::uint64_t> next_number(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size()));
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

bool covers(std::string_view map, std::uint64_t first, std::uint64_t count) {
  while (true) {
    const auto inside = next_number(map);
    const auto outside = next_number(map);
    const auto size = next_number(map);
    if (!inside || !outside || !size) return false;
    if (*inside <= first && *inside + *size >= first + count) return true;
  }
}

Result<> write_file(pid_t process, const char* name, const std::string& text) {
  const std::string path = "/proc/" + std::to_string(process) + "/" + name;
  WEIR_TRY(const OwnedFd fd, checked_fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC), "cannot open " + path));
  if (::write(fd.get(), text.data(), text.size()) < 0) return errno_error("cannot write " + path);
  return {};
}

std::string text_of(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const auto& [inside, outside, count] : ranges) {
    text += std::to_string(inside) + " " + std::to_string(outside) + " " + std::to_string(count) + "\n";
  }
  return text;
}

Result<> run_helper(const char* program, pid_t process, const std::vector<IdRange>& ranges) {
  std::vector<std::string> words = {program, std::to_string(process)};
  for (const auto& [inside, outside, count] : ranges) {
    words.insert(words.end(), {std::to_string(inside), std::to_string(outside), std::to_string(count)});
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* const environment[] = {nullptr};
  const pid_t child = ::fork();
  if (child < 0) return errno_error(std::string("cannot start ") + program);
  if (child == 0) {
    ::execve(program, argv.data(), environment);
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return errno_error(std::string("cannot wait for ") + program);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return std::unexpected(Error(std::string(program) + " refused the ids of /etc/subuid and /etc/subgid")
                             .with_remedy("apt install uidmap, and give yourself 65536 ids: usermod --add-subuids "
                                          "100000-165535 --add-subgids 100000-165535 YOU"));
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// What stands before the next separator, which goes too. By hand: streams would bring their locales into every start.
std::string_view next_field(std::string_view& text, char separator) {
  const std::string_view field = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(field.size() + 1, text.size()));
  return field;
}

std::string_view name_of_user(std::string_view passwd, uid_t user) {
  while (!passwd.empty()) {
    std::string_view line = next_field(passwd, '\n');
    const std::string_view name = next_field(line, ':');
    next_field(line, ':');
    if (number(next_field(line, ':')) == user) return name;
  }
  return "";
}

}  // namespace

bool owns_ids(std::uint32_t first, std::uint64_t count) {
  if (::geteuid() != 0) return false;
  const auto uids = read_file("/proc/self/uid_map", kMaxIdMap);
  const auto gids = read_file("/proc/self/gid_map", kMaxIdMap);
  return uids && gids && covers(*uids, first, count) && covers(*gids, first, count);
}

Result<> write_id_maps(pid_t process, const IdMaps& maps) {
  // Without "deny" the kernel lets nobody unprivileged write a gid map (since 3.19). The caller's supplementary groups
  // stay: an ordinary user cannot give them up.
  const bool own_only = maps.gids.size() == 1 && maps.gids.front().count == 1;
  if (own_only) WEIR_CHECK_OK(write_file(process, "setgroups", "deny"));
  WEIR_CHECK_OK(write_file(process, "uid_map", text_of(maps.uids)));
  return write_file(process, "gid_map", text_of(maps.gids));
}

Result<> write_id_maps_by_helpers(pid_t process, const IdMaps& maps) {
  // By their places on Debian: a search path is the caller's to change.
  WEIR_CHECK_OK(run_helper("/usr/bin/newuidmap", process, maps.uids));
  return run_helper("/usr/bin/newgidmap", process, maps.gids);
}

std::optional<std::uint32_t> subordinate_ids(const std::string& subids, const std::string& passwd, uid_t user,
                                             std::uint32_t count) {
  const std::string_view name = name_of_user(passwd, user);
  std::string_view rest = subids;
  while (!rest.empty()) {
    std::string_view line = next_field(rest, '\n');
    const std::string_view who = next_field(line, ':');
    const auto start = number(next_field(line, ':'));
    const auto given = number(line);
    if (!start || !given || *given < count || *start == 0 || *start + count > 0xffff'ffff) continue;
    if ((!name.empty() && who == name) || number(who) == user) return static_cast<std::uint32_t>(*start);
  }
  return std::nullopt;
}

}  // namespace weir::sys
