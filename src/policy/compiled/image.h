// A compiled policy: one flat, position-independent block of bytes that is mapped read-only and never changes.
//
// policy/text compiles it; supervisor and gateway open the same bytes (a sealed memory file). open() validates every
// offset and count, so a view over an image is safe to use even if the bytes are hostile.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "policy/compiled/verdict.h"

namespace weir::policy {

enum class Mode : std::uint8_t { none, inbound, allowlist, publicly, semitrusted, open, host };
std::string_view name_of(Mode mode);  // "none", "inbound", "allowlist", "public", ...

class Image {
 public:
  // `bytes` must outlive the view and stay unchanged.
  static Result<Image> open(Bytes bytes);

  Bytes bytes() const { return bytes_; }
  // The mode of the innermost layer (run if there is one, else session).
  Mode mode() const;
  // SHA-256 is overkill for telling policies apart in a log; this is the first 16 hex digits of it all the same.
  std::string_view hash() const;
  // The entry as its author wrote it, for events and messages.
  std::string_view entry_text(RuleRef rule) const;

 private:
  explicit Image(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

}  // namespace weir::policy
