#include "changes/text_diff.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/failure_line.h"

namespace weir::changes {
namespace {

constexpr std::size_t kContext = 3;

struct Step {
  char sign = ' ';  // ' ', '-', '+'
  std::string_view line;
};

// Each with its newline, where it has one.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return lines;
}

using Lines = std::span<const std::string_view>;

// The longest common subsequence, by the table that every textbook has.
void add_middle(Lines before, Lines after, std::vector<Step>& steps) {
  const std::size_t width = after.size() + 1;
  std::vector<std::uint32_t> common((before.size() + 1) * width);
  for (std::size_t i = before.size(); i-- > 0;) {
    for (std::size_t k = after.size(); k-- > 0;) {
      common[i * width + k] = before[i] == after[k] ? common[(i + 1) * width + k + 1] + 1
                                                    : std::max(common[(i + 1) * width + k], common[i * width + k + 1]);
    }
  }
  std::size_t i = 0;
  std::size_t k = 0;
  while (i < before.size() || k < after.size()) {
    if (i < before.size() && k < after.size() && before[i] == after[k]) {
      steps.push_back({.sign = ' ', .line = before[i++]});
      ++k;
    } else if (i < before.size() && (k == after.size() || common[(i + 1) * width + k] >= common[i * width + k + 1])) {
      steps.push_back({.sign = '-', .line = before[i++]});
    } else {
      steps.push_back({.sign = '+', .line = after[k++]});
    }
  }
}

std::optional<std::vector<Step>> steps_between(Lines before, Lines after) {
  std::vector<Step> steps;
  const auto [left, right] = std::ranges::mismatch(before, after);
  const auto head = static_cast<std::size_t>(left - before.begin());
  const std::size_t most = std::min(before.size(), after.size()) - head;
  std::size_t tail = 0;
  while (tail < most && before[before.size() - 1 - tail] == after[after.size() - 1 - tail]) ++tail;
  const Lines old_middle = before.subspan(head, before.size() - head - tail);
  const Lines new_middle = after.subspan(head, after.size() - head - tail);
  if ((old_middle.size() + 1) * (new_middle.size() + 1) > kMaxDiffCells) return std::nullopt;
  for (const std::string_view line : before.first(head)) steps.push_back({.sign = ' ', .line = line});
  add_middle(old_middle, new_middle, steps);
  for (const std::string_view line : before.last(tail)) steps.push_back({.sign = ' ', .line = line});
  return steps;
}

// Tabs stand in front of much code and steer nothing else.
std::string with_tabs(std::string_view line) {
  std::string text;
  while (true) {
    const std::size_t tab = line.find('\t');
    text += printable(line.substr(0, tab));
    if (tab == std::string_view::npos) return text;
    text += '\t';
    line.remove_prefix(tab + 1);
  }
}

std::string line_text(const Step& step) {
  const bool whole = step.line.ends_with('\n');
  const std::string text = step.sign + with_tabs(step.line.substr(0, step.line.size() - (whole ? 1 : 0))) + "\n";
  return whole ? text : text + "\\ No newline at end of file\n";
}

std::string range_text(std::size_t begin, std::size_t count) {
  return std::to_string(count == 0 ? begin : begin + 1) + "," + std::to_string(count);
}

// Steps [begin, end); `old_line` and `new_line`: lines of either side before them.
std::string hunk_text(std::span<const Step> steps, std::size_t old_line, std::size_t new_line) {
  const auto added = static_cast<std::size_t>(std::ranges::count(steps, '+', &Step::sign));
  const auto removed = static_cast<std::size_t>(std::ranges::count(steps, '-', &Step::sign));
  std::string text = "@@ -" + range_text(old_line, steps.size() - added) + " +" +
                     range_text(new_line, steps.size() - removed) + " @@\n";
  for (const Step& step : steps) text += line_text(step);
  return text;
}

}  // namespace

std::optional<std::string> unified_diff(std::string_view before, std::string_view after) {
  if (before.size() > kMaxDiffBytes || after.size() > kMaxDiffBytes) return std::nullopt;
  if (before.contains('\0') || after.contains('\0')) return std::nullopt;
  const std::vector<std::string_view> old_lines = lines_of(before);
  const std::vector<std::string_view> new_lines = lines_of(after);
  const auto steps = steps_between(old_lines, new_lines);
  if (!steps) return std::nullopt;
  const auto is_change = [&](std::size_t i) { return (*steps)[i].sign != ' '; };
  std::string text;
  std::size_t old_line = 0;
  std::size_t new_line = 0;
  std::size_t counted = 0;
  for (std::size_t i = 0; i < steps->size();) {
    if (!is_change(i)) {
      ++i;
      continue;
    }
    const std::size_t begin = std::max(counted, i < kContext ? 0 : i - kContext);
    std::size_t end = i;
    for (std::size_t same = 0; i < steps->size() && same <= 2 * kContext; ++i) {
      same = is_change(i) ? 0 : same + 1;
      if (same == 0) end = i + 1;
    }
    end = std::min(end + kContext, steps->size());
    for (; counted < begin; ++counted, ++old_line, ++new_line) {
    }
    text += hunk_text(std::span(*steps).subspan(begin, end - begin), old_line, new_line);
    for (; counted < end; ++counted) {
      old_line += (*steps)[counted].sign != '+' ? 1 : 0;
      new_line += (*steps)[counted].sign != '-' ? 1 : 0;
    }
    i = end;
  }
  return text;
}

}  // namespace weir::changes
