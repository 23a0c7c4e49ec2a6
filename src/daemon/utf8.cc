#include "daemon/utf8.h"

#include "base/json.h"
#include "wire/tunnel_client.h"

namespace weir::daemon {

namespace {

// Bytes of the character that begins with `lead`; 0: no character begins so.
std::size_t length_of(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 0;
}

// The second byte is bounded by the first (RFC 3629 4): no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool second_fits(unsigned char lead, unsigned char second) {
  const unsigned char least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  return second >= least && second <= most;
}

// How many of the bytes at `at` belong together and are right, up to the length that the first one asks for.
std::size_t right_bytes(std::string_view text, std::size_t at, std::size_t length) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  std::size_t count = 1;
  while (count < length && at + count < text.size()) {
    if (count == 1 ? !second_fits(byte(0), byte(1)) : (byte(count) & 0xc0) != 0x80) break;
    ++count;
  }
  return count;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = length_of(static_cast<unsigned char>(text[at]));
    if (length == 0 || right_bytes(text, at, length) != length) return false;
    at += length;
  }
  return true;
}

std::size_t unfinished_bytes(std::string_view text) {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::size_t at = text.size() - back;
    const auto lead = static_cast<unsigned char>(text[at]);
    if ((lead & 0xc0) == 0x80) continue;
    return length_of(lead) > back && right_bytes(text, at, length_of(lead)) == back ? back : 0;
  }
  return 0;
}

void append_output(std::string& json, std::string_view key, std::string_view bytes, Exactness exactness) {
  const bool exact = is_utf8(bytes);
  if (!json.ends_with('{')) json += ',';
  if (exact || exactness == Exactness::both) {
    json += json_string(key) + ":" + json_string(bytes);
    if (!exact) json += ',';
  }
  if (!exact) json += json_string(std::string(key) + "_base64") + ":\"" + wire::base64(bytes) + '"';
}

}  // namespace weir::daemon
