#include "policy/text/mode.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/spelling.h"

namespace weir::policy {

namespace {

struct Spelling {
  std::string_view word;
  ModeWord mode;
};

constexpr auto kSpellings = std::to_array<Spelling>({
    {"none", {Mode::none}},
    {"blocked", {Mode::none}},
    {"zerotrust", {Mode::none}},
    {"off", {Mode::none}},
    {"inbound", {Mode::inbound}},
    {"mounts", {Mode::inbound}},
    {"mounts_only", {Mode::inbound}},
    {"allowlist", {Mode::allowlist}},
    {"public", {Mode::publicly}},
    {"public_only", {Mode::publicly}},
    {"denylist", {Mode::publicly, DenyNeed::required}},
    {"semitrusted", {Mode::semitrusted}},
    {"open", {Mode::open}},
    {"allow_all", {Mode::open}},
    {"full", {Mode::open}},
    {"host", {Mode::host}},
});

constexpr auto kWords = [] {
  std::array<std::string_view, kSpellings.size()> words;
  std::ranges::transform(kSpellings, words.begin(), &Spelling::word);
  return words;
}();

}  // namespace

std::span<const std::string_view> mode_words() {
  return kWords;
}

Result<ModeWord> parse_mode(std::string_view word) {
  std::string folded(word);
  for (char& c : folded) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '-') c = '_';
  }
  const auto* const found = std::ranges::find(kSpellings, folded, &Spelling::word);
  if (found != kSpellings.end()) return found->mode;
  const std::string_view near = nearest_spelling(folded, kWords);
  Error error("'" + std::string(word) + "' is no network mode");
  if (near.empty()) {
    return std::unexpected(
        std::move(error).with_remedy("write none, inbound, allowlist, public, semitrusted, open or host"));
  }
  return std::unexpected(std::move(error).with_remedy("write " + std::string(near)));
}

unsigned width_of(Mode mode) {
  switch (mode) {
    case Mode::none:
      return 0;
    case Mode::inbound:
      return 1;
    case Mode::allowlist:
      return 2;
    case Mode::semitrusted:
      return 3;
    case Mode::publicly:
      return 4;
    case Mode::open:
      return 5;
    case Mode::host:
      return 6;
  }
  return 0;
}

}  // namespace weir::policy
