#include "policy/text/nesting.h"

namespace weir::policy {
namespace {

// Reads just enough of TOML to know what stands in strings and comments. Where the text is no TOML its opinion does not
// matter: the library reads in the same order and stops there.
class DotCounter {
 public:
  explicit DotCounter(std::string_view text) : text_(text) {}

  std::optional<Position> run() {
    while (i_ < text_.size()) {
      const char c = text_[i_];
      if (c == '#') {
        skip_comment();
      } else if (c == '"' || c == '\'') {
        skip_string(c);
      } else if (c == '.') {
        if (++dots_ > kMaxKeyDots) return here();
        ++i_;
      } else {
        // What can stand between two keys. A value has a dot of its own at most.
        if (c == '=' || c == ',' || c == '[' || c == ']' || c == '{' || c == '}' || c == '\n') dots_ = 0;
        pass_one();
      }
    }
    return std::nullopt;
  }

 private:
  bool at(std::string_view what) const { return text_.substr(i_).starts_with(what); }

  void pass_one() {
    if (text_[i_++] == '\n') {
      ++line_;
      line_start_ = i_;
    }
  }

  void skip_comment() {
    while (i_ < text_.size() && text_[i_] != '\n') ++i_;
  }

  void skip_string(char quote) {
    const bool is_long = at(quote == '"' ? "\"\"\"" : "'''");
    const std::string_view end = text_.substr(i_, is_long ? 3 : 1);
    i_ += end.size();
    while (i_ < text_.size() && !at(end)) {
      // A short string ends at its line at the latest.
      if (!is_long && text_[i_] == '\n') return;
      if (quote == '"' && text_[i_] == '\\' && i_ + 1 < text_.size() && text_[i_ + 1] != '\n') ++i_;
      pass_one();
    }
    if (i_ == text_.size()) return;
    i_ += end.size();
    // Two more quotes may belong to the content of a long string.
    for (int more = 0; is_long && more < 2 && i_ < text_.size() && text_[i_] == quote; ++more) ++i_;
  }

  // Columns count characters, as the library does.
  Position here() const {
    std::uint32_t column = 1;
    for (const char c : text_.substr(line_start_, i_ - line_start_)) {
      if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) ++column;
    }
    return {.line = line_, .column = column};
  }

  std::string_view text_;
  std::size_t i_ = 0;
  std::size_t line_start_ = 0;
  std::uint32_t line_ = 1;
  std::size_t dots_ = 0;
};

}  // namespace

std::optional<Position> excess_dot(std::string_view text) {
  return DotCounter(text).run();
}

}  // namespace weir::policy
