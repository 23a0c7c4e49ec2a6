// The tokens of `weir serve --listen`: lines `NAME:TOKEN` or `NAME:TOKEN:ro`, empty ones, and comments with '#'.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "daemon/principal.h"

namespace weir::daemon {

class Tokens {
 public:
  // A token that can be guessed is none: 128 bits in hexadecimal digits have 32 characters.
  static constexpr std::size_t kMinToken = 20;
  static constexpr std::size_t kMaxToken = 512;
  static constexpr std::size_t kMax = 10000;

  // Errors say the line and never the token: a name that is none, a token too short or with characters that a header
  // cannot carry, one of the two twice, no token at all.
  static Result<Tokens> parse(std::string_view text);

  // Nobody where the token is not among them. Takes the same time for each that is as long: what is compared are
  // digests, all of them, to their ends.
  Principal find(std::string_view token) const { return find_digest(digest_of(token)); }
  // The same for who keeps a digest instead of the token.
  static std::string digest_of(std::string_view token);
  Principal find_digest(std::string_view digest) const;

 private:
  struct Entry {
    std::string digest;
    Principal principal;
  };
  std::vector<Entry> entries_;
};

// Reads a file that must be the caller's own, or root's, and that nobody else may read. Errors name it and the remedy.
Result<Tokens> read_token_file(const std::string& path);

// The token of "Bearer TOKEN"; empty where the header is another one.
std::string_view bearer_token(std::string_view header);

}  // namespace weir::daemon
