#include "netlink/message.h"

#include <cstring>

#include "base/error.h"

namespace weir::netlink {

namespace {

constexpr std::size_t align(std::size_t length) {
  return (length + NLMSG_ALIGNTO - 1) & ~std::size_t{NLMSG_ALIGNTO - 1};
}

}  // namespace

void Batch::append(Bytes bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  bytes_.resize(align(bytes_.size()));
}

void Batch::begin_raw(std::uint16_t type, std::uint16_t flags, Bytes header) {
  end_message();
  message_ = bytes_.size();
  nlmsghdr message{};
  message.nlmsg_type = type;
  message.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  message.nlmsg_seq = ++sequence_;
  if ((flags & NLM_F_ACK) != 0) ++acks_;
  append({reinterpret_cast<const std::uint8_t*>(&message), sizeof message});
  append(header);
}

void Batch::end_message() {
  if (message_ == kNone) return;
  const auto length = static_cast<std::uint32_t>(bytes_.size() - message_);
  std::memcpy(bytes_.data() + message_ + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
}

void Batch::attribute(std::uint16_t type, Bytes value) {
  nlattr header{};
  header.nla_len = static_cast<std::uint16_t>(sizeof header + value.size());
  header.nla_type = type;
  append({reinterpret_cast<const std::uint8_t*>(&header), sizeof header});
  append(value);
}

void Batch::u32(std::uint16_t type, std::uint32_t value) {
  attribute(type, {reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
}

void Batch::be16(std::uint16_t type, std::uint16_t value) {
  const std::array<std::uint8_t, 2> bytes = {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
  attribute(type, bytes);
}

void Batch::be32(std::uint16_t type, std::uint32_t value) {
  const std::array<std::uint8_t, 4> bytes = {static_cast<std::uint8_t>(value >> 24),
                                             static_cast<std::uint8_t>(value >> 16),
                                             static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
  attribute(type, bytes);
}

void Batch::string(std::uint16_t type, std::string_view value) {
  std::vector<std::uint8_t> bytes(value.begin(), value.end());
  bytes.push_back(0);
  attribute(type, bytes);
}

std::size_t Batch::open(std::uint16_t type) {
  const std::size_t mark = bytes_.size();
  attribute(static_cast<std::uint16_t>(type | NLA_F_NESTED), {});
  return mark;
}

void Batch::close(std::size_t mark) {
  WEIR_ASSERT(mark + sizeof(nlattr) <= bytes_.size());
  const auto length = static_cast<std::uint16_t>(bytes_.size() - mark);
  std::memcpy(bytes_.data() + mark + offsetof(nlattr, nla_len), &length, sizeof length);
}

Bytes Batch::finish() {
  end_message();
  message_ = kNone;
  return bytes_;
}

}  // namespace weir::netlink
