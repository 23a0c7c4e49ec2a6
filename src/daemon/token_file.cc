#include "daemon/token_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/sha256.h"
#include "sys/errno.h"
#include "sys/files.h"

namespace weir::daemon {

namespace {

constexpr std::size_t kMaxFile = 8u << 20;

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && is_alphanumeric(text.front()) &&
         std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

// RFC 6750 2.1 (b64token).
bool is_token(std::string_view text) {
  return text.size() >= Tokens::kMinToken && text.size() <= Tokens::kMaxToken && std::ranges::all_of(text, [](char c) {
           return is_alphanumeric(c) || std::string_view("-._~+/=").contains(c);
         });
}

bool same_digest(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

std::unexpected<Error> wrong(std::size_t line, const char* what) {
  return std::unexpected(
      Error("line " + std::to_string(line) + ": " + what)
          .with_remedy("write NAME:TOKEN or NAME:TOKEN:ro, the token as openssl rand -hex 24 makes one"));
}

}  // namespace

Result<Tokens> Tokens::parse(std::string_view text) {
  Tokens tokens;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    Principal principal{.kind = Principal::Kind::token, .rights = Principal::Rights::change};
    if (line.ends_with(":ro")) {
      principal.rights = Principal::Rights::look;
      line.remove_suffix(3);
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_name(line.substr(0, colon))) return wrong(number, "no name");
    const std::string_view token = line.substr(colon + 1);
    if (!is_token(token)) return wrong(number, "no token, or one with fewer than 20 characters");
    principal.name = line.substr(0, colon);
    Entry entry{.digest = digest_of(token), .principal = std::move(principal)};
    for (const Entry& each : tokens.entries_) {
      if (each.principal.name == entry.principal.name) return wrong(number, "the same name again");
      if (each.digest == entry.digest) return wrong(number, "the same token again");
    }
    if (tokens.entries_.size() == kMax) return wrong(number, "too many tokens");
    tokens.entries_.push_back(std::move(entry));
  }
  if (tokens.entries_.empty()) return wrong(1, "no token in it");
  return tokens;
}

std::string Tokens::digest_of(std::string_view token) {
  return sha256_hex(as_bytes(token));
}

Principal Tokens::find_digest(std::string_view digest) const {
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (same_digest(entry.digest, digest)) found = &entry;
  }
  return found != nullptr ? found->principal : Principal{};
}

Result<Tokens> read_token_file(const std::string& path) {
  WEIR_TRY(const sys::OwnedFd file,
           sys::checked_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), "cannot read " + path));
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return sys::errno_error("cannot look at " + path);
  const bool own = info.st_uid == ::geteuid() || info.st_uid == 0;
  if (!own || (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return std::unexpected(Error("others may read the tokens in " + path)
                               .with_remedy("chown it to the user of weir serve, and chmod 600 it"));
  }
  WEIR_TRY(const std::string text, sys::read_open_file(file, path, kMaxFile));
  return in_context(Tokens::parse(text), path);
}

std::string_view bearer_token(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() <= kScheme.size()) return {};
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    // RFC 9110 11.1: the name of the scheme in letters of either case.
    const char c = header[i] >= 'A' && header[i] <= 'Z' ? static_cast<char>(header[i] - 'A' + 'a') : header[i];
    if (c != kScheme[i]) return {};
  }
  header.remove_prefix(kScheme.size());
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  return header;
}

}  // namespace weir::daemon
