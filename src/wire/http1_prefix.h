// Tells whether a stream starts like HTTP.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace weir::wire {

enum class HttpLook : std::uint8_t { need_more, http1, h2c, no };

// Looks for `word SPACE ... HTTP/` in the first line. Much wider than what RequestStream accepts, because the answer
// `no` exempts a stream from naming its host: blanks and empty lines in front, every kind of white space as separator,
// any bytes in the target and lower case are recognised here and refused there. HTTP/2 (the preface of prior knowledge)
// is told apart; any other version counts as http1.
//
// Works on a stream in pieces, in time linear in its length; the caller bounds how much it feeds.
class Http1Prefix {
 public:
  HttpLook feed(Bytes chunk);

 private:
  enum class Part : std::uint8_t { leading, method, rest, version };
  void take(std::uint8_t byte);
  void take_method(std::uint8_t byte);
  void take_rest(std::uint8_t byte);

  HttpLook look_ = HttpLook::need_more;
  Part part_ = Part::leading;
  // How much of "HTTP/" was just seen, in `rest`.
  std::size_t matched_ = 0;
};

HttpLook looks_like_http1(Bytes prefix);

}  // namespace weir::wire
