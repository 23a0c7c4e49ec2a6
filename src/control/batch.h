// Several messages in one packet: what a round of the event loop gave rise to travels together, with one wake-up.
//
// Each message stands behind its length (2 bytes). Descriptors are in the order of the messages that carry one.
#pragma once

#include <optional>
#include <vector>

#include "control/codec.h"

namespace weir::control {

// The largest packet: some four hundred small messages, or four of the largest.
inline constexpr std::size_t kMaxPacket = 16 * 1024;

// Collects messages until they are sent.
class Batch {
 public:
  bool empty() const { return bytes_.empty(); }
  // No message may be added before this was sent and cleared.
  bool full() const { return bytes_.size() + 2 + kMaxMessage > kMaxPacket; }
  Bytes bytes() const { return bytes_; }
  void clear() { bytes_.clear(); }

  template <class... Messages>
  void add(const std::variant<Messages...>& message) {
    std::array<std::uint8_t, kMaxMessage> buffer;
    const Bytes encoded = encode(message, buffer);
    bytes_.push_back(static_cast<std::uint8_t>(encoded.size() >> 8));
    bytes_.push_back(static_cast<std::uint8_t>(encoded.size()));
    bytes_.insert(bytes_.end(), encoded.begin(), encoded.end());
  }

 private:
  std::vector<std::uint8_t> bytes_;
};

// Takes the next message from the front of `packet`. nullopt: the sender is broken or hostile.
template <class Variant>
std::optional<Variant> next_message(Bytes& packet) {
  ByteReader reader(packet);
  const auto length = reader.u16();
  const auto message = length ? reader.take(*length) : std::nullopt;
  if (!message) return std::nullopt;
  packet = packet.subspan(reader.offset());
  return decode<Variant>(*message);
}

}  // namespace weir::control
