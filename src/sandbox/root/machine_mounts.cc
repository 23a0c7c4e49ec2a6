#include "sandbox/root/machine_mounts.h"

#include <algorithm>
#include <array>
#include <vector>

#include "sys/files.h"

namespace weir::sandbox {
namespace {

// Some 40,000 mounts with ordinary paths; a machine with more is not one for this check.
constexpr std::size_t kMaxMountInfo = 8 * 1024 * 1024;

constexpr std::array<std::string_view, 15> kMachine = {
    "proc",    "sysfs",    "devtmpfs",    "devpts",   "cgroup", "cgroup2",    "securityfs", "debugfs",
    "tracefs", "configfs", "binfmt_misc", "efivarfs", "bpf",    "rpc_pipefs", "selinuxfs"};

bool contains(std::string_view outer, std::string_view inner) {
  if (outer == "/" || outer == inner) return true;
  return inner.starts_with(outer) && inner[outer.size()] == '/';
}

std::string_view next(std::string_view& rest, char end) {
  const std::size_t at = std::min(rest.find(end), rest.size());
  const std::string_view part = rest.substr(0, at);
  rest.remove_prefix(std::min(at + 1, rest.size()));
  return part;
}

// proc(5): space, tab, newline and backslash are written as three octal digits.
std::string unescaped(std::string_view text) {
  const auto digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
  std::string path;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\' || !digit(at + 1) || !digit(at + 2) || !digit(at + 3)) {
      path += text[at];
      continue;
    }
    path += static_cast<char>((text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 + (text[at + 3] - '0'));
    at += 3;
  }
  return path;
}

struct Mount {
  std::string point;
  std::string_view type;
};

// The fifth field, and the first after the lone dash that ends the optional fields.
Mount parse(std::string_view line) {
  constexpr int kFieldsBefore = 4;
  for (int field = 0; field < kFieldsBefore; ++field) next(line, ' ');
  Mount mount{.point = unescaped(next(line, ' ')), .type = {}};
  while (!line.empty() && next(line, ' ') != "-") {
  }
  mount.type = next(line, ' ');
  return mount;
}

}  // namespace

std::string machine_mount_in(std::string_view mountinfo, std::string_view source) {
  Mount under;  // what the source itself is on: the innermost, and of several on one place the last
  std::vector<Mount> below;
  while (!mountinfo.empty()) {
    Mount mount = parse(next(mountinfo, '\n'));
    if (contains(mount.point, source)) {
      if (mount.point.size() >= under.point.size()) under = std::move(mount);
    } else if (contains(source, mount.point)) {
      below.push_back(std::move(mount));
    }
  }
  below.push_back(std::move(under));
  for (const Mount& mount : below) {
    if (std::ranges::find(kMachine, mount.type) != kMachine.end()) return mount.point;
  }
  return {};
}

Result<> refuse_machine_mounts(const std::string& source) {
  WEIR_TRY(const std::string mountinfo, sys::read_file("/proc/self/mountinfo", kMaxMountInfo));
  const std::string found = machine_mount_in(mountinfo, source);
  if (found.empty()) return {};
  return std::unexpected(
      Error("cannot share " + source + ": one of the kernel's own file systems is mounted at " + found)
          .with_remedy("share a folder without it, or unmount it"));
}

}  // namespace weir::sandbox
