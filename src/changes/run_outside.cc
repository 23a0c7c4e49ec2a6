#include "changes/run_outside.h"

#include <algorithm>
#include <string>

#include "base/path.h"

namespace weir::changes {
namespace {

std::string in_small_letters(std::string_view text) {
  std::string small(text);
  std::ranges::transform(small, small.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return small;
}

// Whether it holds for the path as it looks from any of the folders that it leads through.
template <class Test>
bool from_any_folder(std::string_view path, Test test) {
  while (true) {
    if (test(path)) return true;
    const std::size_t slash = path.find('/');
    if (slash == std::string_view::npos) return false;
    path.remove_prefix(slash + 1);
  }
}

template <class Test>
bool any_known(Test test) {
  return std::ranges::any_of(kProtected, test) || std::ranges::any_of(kProtectedIfThere, test);
}

bool makes_a_repository(std::string_view path) {
  constexpr std::string_view kHead = "head";
  if (!path.ends_with(kHead)) return false;
  const std::string_view folder = path.substr(0, path.size() - kHead.size());
  if (!folder.empty() && !folder.ends_with('/')) return false;
  return folder != ".git/" && !folder.ends_with("/.git/");
}

}  // namespace

bool is_run_outside(std::string_view path) {
  const std::string small = in_small_letters(path);
  return from_any_folder(small, [](std::string_view from_here) {
    return any_known([from_here](std::string_view known) { return is_at_or_below(known, from_here); });
  });
}

bool lies_in_protected(std::string_view whole_path) {
  const std::string small = in_small_letters(whole_path);
  return from_any_folder(small, [](std::string_view from_here) {
    return std::ranges::any_of(kProtected, [&](std::string_view known) { return is_at_or_below(known, from_here); });
  });
}

bool is_protected_in_bare(std::string_view name) {
  const std::string small = in_small_letters(name);
  return std::ranges::any_of(kProtectedInBare, [&](std::string_view known) { return known == small; });
}

bool would_be_run_outside(std::string_view path, Stands what) {
  if (is_run_outside(path)) return true;
  if (what == Stands::folder) return false;
  const std::string small = in_small_letters(path);
  return makes_a_repository(small) || from_any_folder(small, [](std::string_view from_here) {
           return any_known([from_here](std::string_view known) { return is_at_or_below(from_here, known); });
         });
}

}  // namespace weir::changes
