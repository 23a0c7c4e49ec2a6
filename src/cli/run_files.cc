#include "cli/run_files.h"

#include <filesystem>
#include <system_error>

#include "base/path.h"
#include "cli/run_plan.h"
#include "sandbox/root/tools.h"
#include "sandbox/shares/shares.h"
#include "session/state_folder.h"

namespace weir::cli {
namespace {

Result<> plan_shares(const CommandLine& line, const Caller& caller, sandbox::Spec& spec) {
  const sandbox::Sharer sharer = sharer_of(line, caller);
  for (const std::string& volume : line.values(OptionId::volume)) {
    WEIR_TRY(sandbox::Share share, sandbox::parse_share(volume, sharer));
    spec.shares.push_back(std::move(share));
  }
  if (line.has(OptionId::here)) {
    const std::string form = line.value(OptionId::here).value_or("");
    WEIR_TRY(sandbox::Share share, sandbox::share_here(form, sharer));
    spec.workdir = share.target;
    spec.shares.push_back(std::move(share));
  }
  return sandbox::check_shares(spec.shares);
}

// Sessions are spoken to by sockets in weir's state, today's and those to come: whoever sees one, read-only or not, has
// what that session has.
Result<> keep_sessions_out(const std::vector<sandbox::Share>& shares) {
  const auto state = session::state_folder();
  if (!state) return {};  // then there are none
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::weakly_canonical(*state, error);
  if (error) return fail("cannot resolve " + *state + ": " + error.message(), error.value());
  for (const sandbox::Share& share : shares) {
    if (share.access == sandbox::Share::Access::copy) continue;
    const bool above = is_at_or_below(share.source, folder.native());
    const bool below = is_at_or_below(folder.native() + "/sessions", share.source) ||
                       is_at_or_below(folder.native() + "/live", share.source);
    if (!above && !below) continue;
    return std::unexpected(Error("the share " + share.source + " would show the sockets of weir's sessions, in " +
                                 folder.native() + ", to the command")
                               .with_remedy("share a folder without weir's state, or a copy of it (:copy)"));
  }
  return {};
}

}  // namespace

sandbox::Sharer sharer_of(const CommandLine& line, const Caller& caller) {
  using Sockets = sandbox::Sharer::Sockets;
  return {.folder = caller.folder,
          .home = std::string(caller.variable("HOME").value_or("")),
          .runtime_folder = std::string(caller.variable("XDG_RUNTIME_DIR").value_or("")),
          .sockets = line.has(OptionId::share_sockets) ? Sockets::shared : Sockets::refused};
}

Result<> plan_files(const CommandLine& line, const Caller& caller, sandbox::Spec& spec) {
  WEIR_CHECK_OK(plan_shares(line, caller, spec));
  if (!line.has(OptionId::share_sockets)) WEIR_CHECK_OK(keep_sessions_out(spec.shares));
  for (const std::string& tool : line.values(OptionId::tool)) {
    Result<std::string> path = absolute_path(tool, caller.folder);
    if (!path) return std::unexpected(std::move(path).error().context("option --tool"));
    if (spec.image && path->starts_with("/usr/")) {
      return std::unexpected(Error("option --tool: " + *path + " is of the host's /usr, which --image replaces")
                                 .with_remedy("name a tool from outside /usr, or share it with -v"));
    }
    spec.tools.push_back(std::move(*path));
  }
  // The sandbox resolves them again when it starts; here it is for the answer of --dry-run.
  WEIR_TRY(const std::vector<sandbox::Tool> tools, sandbox::resolve_tools(spec.tools));
  WEIR_CHECK_OK(sandbox::check_tools(tools, sharer_of(line, caller)));
  if (const auto workdir = line.value(OptionId::workdir)) {
    WEIR_TRY(spec.workdir, parse_workdir(*workdir));
  }
  return {};
}

}  // namespace weir::cli
