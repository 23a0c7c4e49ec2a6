// Building netlink messages: a batch is one contiguous buffer with any number of messages. Codec only, no socket.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace weir::netlink {

// Attributes and messages are 4-byte aligned (NLMSG_ALIGNTO); lengths are patched when a scope ends.
class Batch {
 public:
  // Starts a message with its fixed payload header (ifinfomsg, rtmsg, nfgenmsg, ...). Ends the one before it.
  template <class Header>
  void begin(std::uint16_t type, std::uint16_t flags, const Header& header) {
    begin_raw(type, flags, {reinterpret_cast<const std::uint8_t*>(&header), sizeof(Header)});
  }

  void attribute(std::uint16_t type, Bytes value);
  void u8(std::uint16_t type, std::uint8_t value) { attribute(type, {&value, 1}); }
  // Host order: rtnetlink.
  void u32(std::uint16_t type, std::uint32_t value);
  // Network order: nfnetlink.
  void be16(std::uint16_t type, std::uint16_t value);
  void be32(std::uint16_t type, std::uint32_t value);
  // With the terminating zero.
  void string(std::uint16_t type, std::string_view value);

  // A nested attribute spans what is added between open() and close(mark).
  std::size_t open(std::uint16_t type);
  void close(std::size_t mark);

  // Finishes the last message. The batch can be sent once.
  Bytes finish();
  // Messages that ask for an acknowledgement (NLM_F_ACK).
  std::uint32_t acks_expected() const { return acks_; }

 private:
  void begin_raw(std::uint16_t type, std::uint16_t flags, Bytes header);
  void end_message();
  void append(Bytes bytes);

  std::vector<std::uint8_t> bytes_;
  std::size_t message_ = kNone;
  std::uint32_t sequence_ = 0;
  std::uint32_t acks_ = 0;
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
};

}  // namespace weir::netlink
