#include "supervisor/record/events_sweep.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "sys/folder.h"
#include "sys/owned_fd.h"

namespace weir::supervisor {
namespace {

struct Record {
  std::time_t written;
  long nanoseconds;
  std::string name;
};

// "w-0123abcd.jsonl": what weir itself put there.
bool is_record(std::string_view name) {
  return name.starts_with("w-") && name.ends_with(".jsonl");
}

// Newest first.
std::vector<Record> records_in(const sys::Folder& folder) {
  std::vector<Record> records;
  while (const dirent* entry = sys::next_entry(folder)) {
    if (!is_record(entry->d_name)) continue;
    struct stat status{};
    if (::fstatat(::dirfd(folder.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
      continue;
    records.push_back({.written = status.st_mtim.tv_sec, .nanoseconds = status.st_mtim.tv_nsec, .name = entry->d_name});
  }
  std::ranges::sort(records, std::ranges::greater(),
                    [](const Record& record) { return std::pair(record.written, record.nanoseconds); });
  return records;
}

void remove_if_ended(int folder, const std::string& name) {
  const sys::OwnedFd fd(::openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (fd.valid() && hold_alone(fd.get())) ::unlinkat(folder, name.c_str(), 0);
}

}  // namespace

void sweep_events(const std::string& folder, std::time_t now, const KeptRecords& keep) {
  const sys::Folder open(::opendir(folder.c_str()));
  if (!open) return;
  const std::vector<Record> records = records_in(open);
  const std::time_t oldest = now - std::chrono::seconds(keep.younger_than).count();
  for (std::size_t i = keep.always; i < records.size(); ++i) {
    if (i >= keep.at_most || records[i].written < oldest) remove_if_ended(::dirfd(open.get()), records[i].name);
  }
}

std::vector<std::string> records_of(const std::string& folder) {
  const sys::Folder open(::opendir(folder.c_str()));
  if (!open) return {};
  std::vector<std::string> names;
  for (Record& record : records_in(open)) names.push_back(std::move(record.name));
  std::ranges::reverse(names);
  return names;
}

bool is_sandbox_id(std::string_view text) {
  constexpr std::size_t kDigits = 8;
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == 2 + kDigits && text.starts_with("w-") && std::ranges::all_of(text.substr(2), is_hex);
}

bool is_being_written(int fd) {
  if (!hold_alone(fd)) return true;
  ::flock(fd, LOCK_UN);
  return false;
}

bool sweeps(std::string_view sandbox) {
  return sandbox.ends_with("00");
}

bool hold_alone(int fd) {
  return ::flock(fd, LOCK_EX | LOCK_NB) == 0;
}

void mark_as_written(int fd) {
  // Shared, and nobody waits: a sweep that holds the file for a moment has judged it by its age, which is none.
  ::flock(fd, LOCK_SH | LOCK_NB);
}

}  // namespace weir::supervisor
