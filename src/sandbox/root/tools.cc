#include "sandbox/root/tools.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "sandbox/root/machine_mounts.h"
#include "sandbox/root/root_files.h"
#include "sandbox/shares/id_mapped.h"
#include "sys/errno.h"
#include "sys/mounts.h"

namespace weir::sandbox {
namespace {

constexpr std::string_view kDefaultPath = "/usr/local/bin:/usr/bin:/bin";
constexpr std::string_view kPathVariable = "PATH=";

std::string folder_of(const std::string& path) {
  return path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
}

Result<Tool> resolve_tool(const std::string& path) {
  std::array<char, PATH_MAX> real{};
  if (::realpath(path.c_str(), real.data()) == nullptr) return sys::errno_error("option --tool: " + path);
  struct stat status{};
  if (::stat(real.data(), &status) != 0) return sys::errno_error("option --tool: " + path);
  Tool tool{.source = real.data(), .link = {}, .folder = {}, .mount = {}};
  if (tool.source != path) tool.link = path;
  if (S_ISREG(status.st_mode)) {
    if ((status.st_mode & 0111) == 0) return fail("option --tool: " + path + " is not executable");
    tool.folder = folder_of(path);
    return tool;
  }
  if (!S_ISDIR(status.st_mode)) return fail("option --tool: " + path + " is neither a file nor a folder");
  const std::string bin = path + "/bin";
  tool.folder = ::stat(bin.c_str(), &status) == 0 && S_ISDIR(status.st_mode) ? bin : path;
  return tool;
}

// All of the host's /usr is.
bool is_there_anyway(const Tool& tool) {
  return tool.source.starts_with("/usr/");
}

Result<sys::OwnedFd> take(const Tool& tool) {
  constexpr std::uint64_t kReadOnly = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  WEIR_TRY(const sys::OwnedFd source, sys::open_without_links(tool.source));
  return sys::clone_mount(source.get(), "", sys::Submounts::included, kReadOnly);
}

Result<struct stat> look_at(const sys::OwnedFd& mount, const std::string& path) {
  struct stat status{};
  if (::fstat(mount.get(), &status) != 0) return sys::errno_error("cannot look at " + path);
  return status;
}

Result<> mount_tool(const Tool& tool) {
  if (is_there_anyway(tool)) return {};
  sys::OwnedFd own;
  if (!tool.mount.valid()) {
    WEIR_TRY(own, take(tool));
  }
  const sys::OwnedFd& mount = tool.mount.valid() ? tool.mount : own;
  WEIR_TRY(const struct stat status, look_at(mount, tool.source));
  const auto kind = S_ISDIR(status.st_mode) ? MountPointKind::folder : MountPointKind::file;
  WEIR_TRY(const sys::OwnedFd place, mount_point(tool.source, kind));
  WEIR_CHECK_OK(sys::attach_mount(mount, place.get(), ""));
  if (tool.link.empty()) return {};
  // The name by which the user knows it, unless a folder that is shared already has it.
  const std::size_t slash = tool.link.rfind('/');
  WEIR_TRY(const sys::OwnedFd folder, mount_point(tool.link.substr(0, slash), MountPointKind::folder));
  if (::symlinkat(tool.source.c_str(), folder.get(), tool.link.c_str() + slash + 1) != 0 && errno != EEXIST)
    return sys::errno_error("cannot make the link " + tool.link);
  return {};
}

std::string search_path(std::string_view given, const std::vector<Tool>& tools) {
  std::string path;
  for (const Tool& tool : tools) path += tool.folder + ":";
  path += given;
  return path + ":" + kOwnPrograms;
}

}  // namespace

Result<std::vector<Tool>> resolve_tools(const std::vector<std::string>& paths) {
  std::vector<Tool> tools;
  for (const std::string& path : paths) {
    WEIR_TRY(Tool tool, resolve_tool(path));
    tools.push_back(std::move(tool));
  }
  return tools;
}

Result<> check_tools(const std::vector<Tool>& tools, const Sharer& sharer) {
  for (const Tool& tool : tools) {
    if (is_there_anyway(tool)) continue;
    const Share share = {
        .source = tool.source, .target = tool.source, .access = Share::Access::read_only, .read_only_below = {}};
    WEIR_CHECK_OK(in_context(check_source(share, sharer), "option --tool"));
  }
  return {};
}

Result<> prepare_tools(std::vector<Tool>& tools, const Identity& identity) {
  for (Tool& tool : tools) {
    if (is_there_anyway(tool)) continue;
    WEIR_CHECK_OK(in_context(refuse_machine_mounts(tool.source), "option --tool"));
    if (identity.kind() != Identity::Kind::range) continue;
    WEIR_TRY(tool.mount, take(tool));
    WEIR_TRY(const struct stat status, look_at(tool.mount, tool.source));
    WEIR_CHECK_OK(map_owner(tool.mount, status.st_uid, status.st_gid, identity, tool.source));
  }
  return {};
}

Result<> mount_tools(const std::vector<Tool>& tools) {
  for (const Tool& tool : tools) WEIR_CHECK_OK(in_context(mount_tool(tool), "option --tool"));
  return {};
}

std::vector<std::string> command_environment(const std::vector<std::string>& given, const Spec& spec,
                                             const std::vector<Tool>& tools) {
  const std::string seal = std::string(kSealVariable) + "=";
  std::vector<std::string> environment;
  bool has_path = false;
  for (const std::string& variable : given) {
    if (spec.seals && variable.starts_with(seal)) continue;
    const bool is_path = variable.starts_with(kPathVariable);
    has_path = has_path || is_path;
    environment.push_back(
        is_path ? std::string(kPathVariable) + search_path(variable.substr(kPathVariable.size()), tools) : variable);
  }
  if (!has_path) environment.push_back(std::string(kPathVariable) + search_path(kDefaultPath, tools));
  if (spec.seals) environment.push_back(seal + std::to_string(kSealDescriptor));
  return environment;
}

std::vector<std::string> candidates(const std::string& program, const std::vector<std::string>& environment) {
  if (program.empty()) return {};
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> found;
  for (const std::string& variable : environment) {
    if (!variable.starts_with(kPathVariable)) continue;
    std::string_view rest = std::string_view(variable).substr(kPathVariable.size());
    while (true) {
      const std::size_t end = std::min(rest.find(':'), rest.size());
      const std::string_view folder = rest.substr(0, end);
      // POSIX reads an empty entry as the current folder, which is never what somebody meant.
      if (!folder.empty()) found.push_back(std::string(folder) + "/" + program);
      if (end == rest.size()) return found;
      rest.remove_prefix(end + 1);
    }
  }
  return found;
}

}  // namespace weir::sandbox
