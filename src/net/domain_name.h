// A host name in its one canonical form: lower-case ASCII (A-labels), no trailing dot.
//
// An un-canonical name cannot exist, so matching is equality and a suffix test at a label boundary. Unicode never gets
// here: policy/text maps it to A-labels first; on the wire only ASCII is a name.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace weir::net {

class DomainName {
 public:
  static constexpr std::size_t kMaxLength = 253;  // RFC 1035 2.3.4 in text form
  static constexpr std::size_t kMaxLabel = 63;

  // Bytes [A-Za-z0-9_-] in labels of 1-63, at most 253 together, one trailing dot allowed. Names whose last label is a
  // number ("127.1", "0x7f.1", "2130706433") are errors: other software takes them for addresses.
  static Result<DomainName> parse(std::string_view text);

  const std::string& text() const { return text_; }

  // Label boundaries count: "xexample.com" is not below "example.com", and neither is "example.com" itself.
  bool is_below(std::string_view parent) const {
    return text_.size() > parent.size() + 1 && text_.ends_with(parent) &&
           text_[text_.size() - parent.size() - 1] == '.';
  }
  bool is_at_or_below(std::string_view parent) const { return text_ == parent || is_below(parent); }
  bool is_single_label() const { return text_.find('.') == std::string::npos; }

  friend auto operator<=>(const DomainName&, const DomainName&) = default;

 private:
  explicit DomainName(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace weir::net

template <>
struct std::hash<weir::net::DomainName> {
  std::size_t operator()(const weir::net::DomainName& name) const noexcept {
    return std::hash<std::string>{}(name.text());
  }
};
