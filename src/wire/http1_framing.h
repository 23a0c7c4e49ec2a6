// What a request and a response have in common on the wire: lines that end with CR LF, and bodies.
//
// Inside the room only: RequestStream and ResponseStream.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "wire/http1_head.h"

namespace weir::wire::http1 {

// One line, a byte at a time. Strict: CR LF and nothing else ends it, and no other control character but HTAB is in it.
class LineReader {
 public:
  enum class State : std::uint8_t { more, whole, bad };

  State take(std::uint8_t byte);
  // Without CR LF.
  const std::string& text() const { return text_; }
  // Begins the next line.
  void clear() { text_.clear(); }

 private:
  std::string text_;
  bool after_cr_ = false;
};

// A body of known framing: where it ends. What it takes has been checked byte by byte.
class BodyReader {
 public:
  static constexpr std::size_t kMaxTrailers = 8192;       // nobody needs more behind a body
  static constexpr std::uint64_t kMaxChunk = 0x80000000;  // 2^31: where receivers begin to disagree
  static constexpr std::size_t kMaxChunkDigits = 8;

  enum class State : std::uint8_t { more, done, bad };

  void begin(BodyFraming framing, std::uint64_t size);
  State state() const { return state_; }
  // While the state is `more`: takes at least one byte, and as many more as need no look.
  std::size_t take(Bytes bytes);

 private:
  enum class Part : std::uint8_t {
    counted,      // `left_` bytes of body
    chunk_size,   // the line with the size
    chunk_data,   // `left_` bytes of a chunk
    chunk_end,    // CR LF behind it
    trailers,     // lines behind the last chunk
    until_close,  // everything there is
  };

  void take_framing(std::uint8_t byte);
  void take_chunk_size();
  void take_trailer();

  State state_ = State::done;
  Part part_ = Part::counted;
  LineReader line_;
  std::uint64_t left_ = 0;
  std::size_t trailer_bytes_ = 0;
};

}  // namespace weir::wire::http1
