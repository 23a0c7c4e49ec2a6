// What something outside runs by itself: git, direnv, editors, agents, shells. One list, for what `--here` keeps
// read-only, for what a receipt marks and for what `weir apply` does not take over unasked.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace weir::changes {

// Run without being asked. Where they do not exist, `--here` does not let them be made either. Relative to a folder.
inline constexpr std::array kProtected = {".git/hooks", ".git/config", ".git/commondir", ".git/config.worktree",
                                          ".envrc",     ".vscode",     ".idea"};

// A folder without .git is a repository itself, settings and all, as soon as HEAD, objects and refs are in it. Only
// there: next to a .git, git cannot tell a file HEAD from the commit.
inline constexpr const char* kBareHead = "HEAD";
// Where it is one already.
inline constexpr std::array kProtectedInBare = {"hooks", "config", "commondir", "config.worktree"};
// `name`: of one file or folder, in either case of letters.
bool is_protected_in_bare(std::string_view name);

// Run from particular places (the home folder) or after a question; `--here` protects them where they exist.
inline constexpr std::array kProtectedIfThere = {
    ".bash_login",   ".bash_logout", ".bash_profile", ".bashrc",    ".claude",      ".cursor",
    ".devcontainer", ".gitmodules",  ".husky",        ".inputrc",   ".git/modules", ".git/worktrees",
    ".kshrc",        ".login",       ".mcp.json",     ".mise.toml", ".profile",     ".zlogin",
    ".zlogout",      ".zprofile",    ".zshenv",       ".zshrc",     ".config/fish", ".tool-versions"};

// Whether something outside runs the file, or what is in the folder, by itself: `path` is relative to the shared folder
// ("sub/.git/hooks/pre-commit"). In folders below it as well, and in either case of letters: some file systems do not
// tell .GIT from .git.
bool is_run_outside(std::string_view path);

// Whether a whole path lies in a folder of the first list, also where the shared folder begins inside of it (.git
// itself was shared). Not the second: what a project in .claude/worktrees changes is not run.
bool lies_in_protected(std::string_view whole_path);

enum class Stands : std::uint8_t { folder, no_folder };
// The same for what `weir apply` puts at the path. A file or a link in place of a folder of the list (.git as a file
// names another repository) or a HEAD (which makes its folder a repository) counts as well.
bool would_be_run_outside(std::string_view path, Stands what);

}  // namespace weir::changes
