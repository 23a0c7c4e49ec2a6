#include "wire/http1_framing.h"

#include <algorithm>

#include "base/hex.h"

namespace weir::wire::http1 {

LineReader::State LineReader::take(std::uint8_t byte) {
  if (after_cr_) {
    after_cr_ = false;
    return byte == '\n' ? State::whole : State::bad;
  }
  if (byte == '\r') {
    after_cr_ = true;
    return State::more;
  }
  // A bare LF is among these.
  if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return State::bad;
  text_ += static_cast<char>(byte);
  return State::more;
}

void BodyReader::begin(BodyFraming framing, std::uint64_t size) {
  state_ = State::more;
  left_ = size;
  switch (framing) {
    case BodyFraming::none:
      state_ = State::done;
      return;
    case BodyFraming::counted:
      part_ = Part::counted;
      if (size == 0) state_ = State::done;
      return;
    case BodyFraming::chunked:
      part_ = Part::chunk_size;
      return;
    case BodyFraming::until_close:
      part_ = Part::until_close;
      return;
  }
}

std::size_t BodyReader::take(Bytes bytes) {
  switch (part_) {
    case Part::counted:
    case Part::chunk_data: {
      const auto used = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
      left_ -= used;
      if (left_ > 0) return used;
      if (part_ == Part::counted) state_ = State::done;
      part_ = Part::chunk_end;
      return used;
    }
    case Part::until_close:
      return bytes.size();
    case Part::chunk_size:
    case Part::chunk_end:
    case Part::trailers:
      break;
  }
  take_framing(bytes.front());
  return 1;
}

void BodyReader::take_framing(std::uint8_t byte) {
  const LineReader::State line = line_.take(byte);
  const std::string& text = line_.text();
  const bool whole = line == LineReader::State::whole;
  bool good = line != LineReader::State::bad;
  if (part_ == Part::chunk_size) {
    // Anything but digits, an extension for one, is refused at its first byte.
    good = good && (whole || (text.size() <= kMaxChunkDigits && (text.empty() || hex_value(text.back()) >= 0)));
  } else if (part_ == Part::chunk_end) {
    good = good && text.empty();
  } else {
    good = good && ++trailer_bytes_ <= kMaxTrailers;
  }
  if (!good) {
    state_ = State::bad;
  } else if (whole && part_ == Part::chunk_size) {
    take_chunk_size();
  } else if (whole && part_ == Part::chunk_end) {
    part_ = Part::chunk_size;
  } else if (whole) {
    take_trailer();
  }
}

void BodyReader::take_chunk_size() {
  left_ = 0;
  for (const char c : line_.text()) left_ = left_ * 16 + static_cast<std::uint64_t>(hex_value(c));
  if (line_.text().empty() || left_ > kMaxChunk) {
    state_ = State::bad;
    return;
  }
  line_.clear();
  trailer_bytes_ = 0;
  part_ = left_ == 0 ? Part::trailers : Part::chunk_data;
}

void BodyReader::take_trailer() {
  if (line_.text().empty()) {
    state_ = State::done;
    return;
  }
  const auto field = parse_field(line_.text());
  if (!field || is_forbidden_trailer(field->name)) state_ = State::bad;
  line_.clear();
}

}  // namespace weir::wire::http1
