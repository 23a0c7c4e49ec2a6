#include "cli/run_files.h"

#include "cli/run_plan.h"
#include "sandbox/shares.h"
#include "sandbox/tools.h"

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
