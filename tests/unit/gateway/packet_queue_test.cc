#include "gateway/packet_queue.h"

#include <gtest/gtest.h>

#include <cstring>

#include "wire/checksum.h"
#include "wire/packet.h"

namespace weir::gateway {
namespace {

net::IpAddress ip(std::string_view text) {
  return *net::IpAddress::parse(text);
}

struct Family {
  net::Endpoint peer;
  net::Endpoint guest;
};
const Family kFamilies[] = {{{ip("192.0.2.7"), 53}, {ip("10.254.0.2"), 4000}},
                            {{ip("2001:db8::7"), 53}, {ip("fd77::2"), 4000}}};

// What the kernel reads of a frame's virtio header (virtio 1.2, 5.1.6).
struct Header {
  std::uint8_t flags;
  std::uint8_t gso_type;
  std::uint16_t header_size;
  std::uint16_t gso_size;
  std::uint16_t checksum_start;
  std::uint16_t checksum_offset;
};

Header header_of(Bytes frame) {
  Header header;
  std::memcpy(&header, frame.data(), sizeof header);
  return header;
}

// As the kernel does with NEEDS_CSUM: the sum over what follows the start replaces what stands there. The packet.
std::vector<std::uint8_t> finished(Bytes frame) {
  const Header header = header_of(frame);
  std::vector<std::uint8_t> packet(frame.begin() + PacketQueue::kVirtioHeader, frame.end());
  const std::uint16_t sum = wire::checksum_of(Bytes(packet).subspan(header.checksum_start));
  packet[header.checksum_start + header.checksum_offset] = static_cast<std::uint8_t>(sum >> 8);
  packet[header.checksum_start + header.checksum_offset + 1u] = static_cast<std::uint8_t>(sum);
  return packet;
}

std::vector<std::uint8_t> whole(const Family& family, std::string_view payload) {
  std::vector<std::uint8_t> buffer(wire::kMaxPacket);
  const Bytes packet = wire::udp_packet(family.peer, family.guest, as_bytes(payload), buffer);
  return {packet.begin(), packet.end()};
}

TEST(PacketQueue, AFinishedPacketHasAnEmptyHeader) {
  PacketQueue queue;
  queue.add(as_bytes("packet"));
  ASSERT_EQ(queue.count(), 1u);
  EXPECT_EQ(as_text(queue.frame(0)), std::string(PacketQueue::kVirtioHeader, '\0') + "packet");
}

TEST(PacketQueue, ADatagramIsFinishedByTheKernel) {
  for (const Family& family : kFamilies) {
    for (const std::string_view payload : {"", "x", "odd", "even"}) {
      PacketQueue queue;
      queue.add_datagram(family.peer, family.guest, as_bytes(payload));
      ASSERT_EQ(queue.count(), 1u);
      const Bytes frame = queue.frame(0);
      EXPECT_EQ(header_of(frame).flags, 1);
      EXPECT_EQ(header_of(frame).gso_type, 0);
      EXPECT_EQ(finished(frame), whole(family, payload));
    }
  }
}

TEST(PacketQueue, DatagramsOfOneSizeAreJoined) {
  for (const Family& family : kFamilies) {
    PacketQueue queue;
    for (const char* payload : {"aaaa", "bbbb", "cc"}) queue.add_datagram(family.peer, family.guest, as_bytes(payload));
    ASSERT_EQ(queue.count(), 1u);
    EXPECT_EQ(queue.parts(0), 3u);
    const Bytes frame = queue.frame(0);
    EXPECT_EQ(header_of(frame).gso_type, 5);
    EXPECT_EQ(header_of(frame).gso_size, 4);
    EXPECT_EQ(header_of(frame).header_size, wire::udp_headers_size(family.peer.address));
    EXPECT_EQ(finished(frame), whole(family, "aaaabbbbcc"));
    for (std::size_t part = 0; const char* payload : {"aaaa", "bbbb", "cc"}) {
      const Bytes alone = queue.part(0, part++);
      EXPECT_EQ(header_of(alone).gso_type, 0);
      EXPECT_EQ(finished(alone), whole(family, payload));
    }
  }
}

TEST(PacketQueue, WhatCannotBeCutAgainIsNotJoined) {
  const auto& [peer, guest] = kFamilies[0];
  const net::Endpoint other{peer.address, 54};
  PacketQueue queue;
  queue.add_datagram(peer, guest, as_bytes("aaaa"));
  queue.add_datagram(peer, guest, as_bytes("bb"));    // the shorter one is the last
  queue.add_datagram(peer, guest, as_bytes("cc"));    // behind a shorter one
  queue.add_datagram(peer, guest, as_bytes("dddd"));  // longer
  queue.add_datagram(peer, guest, {});                // empty
  queue.add_datagram(peer, guest, {});
  queue.add_datagram(other, guest, as_bytes("e"));  // of another socket
  queue.add_datagram(peer, guest, as_bytes("f"));
  queue.add(as_bytes("g"));  // a packet between them
  queue.add_datagram(peer, guest, as_bytes("h"));
  std::vector<std::size_t> parts;
  for (std::size_t i = 0; i < queue.count(); ++i) parts.push_back(queue.parts(i));
  EXPECT_EQ(parts, (std::vector<std::size_t>{2, 1, 1, 1, 1, 1, 1, 1, 1}));
}

TEST(PacketQueue, AFrameIsNoLongerThanAPacket) {
  for (const Family& family : kFamilies) {
    const std::string payload(1400, 'x');
    PacketQueue queue;
    for (int i = 0; i < 100; ++i) queue.add_datagram(family.peer, family.guest, as_bytes(payload));
    ASSERT_EQ(queue.count(), 3u);
    EXPECT_EQ(queue.parts(0), 46u);
    EXPECT_LE(queue.frame(0).size(), PacketQueue::kVirtioHeader + wire::kMaxPacket);
    PacketQueue small;
    for (int i = 0; i < 100; ++i) small.add_datagram(family.peer, family.guest, as_bytes("x"));
    EXPECT_EQ(small.parts(0), PacketQueue::kMaxParts);
    const std::size_t most = wire::kMaxPacket - wire::udp_headers_size(family.peer.address);
    PacketQueue long_ones;
    long_ones.add_datagram(family.peer, family.guest, as_bytes(std::string(most + 1, 'x')));
    EXPECT_EQ(long_ones.count(), 0u);
    long_ones.add_datagram(family.peer, family.guest, as_bytes(std::string(most, 'x')));
    EXPECT_EQ(long_ones.count(), 1u);
  }
}

TEST(PacketQueue, NothingIsJoinedAfterAKernelThatDoesNotCut) {
  const auto& [peer, guest] = kFamilies[0];
  PacketQueue queue;
  queue.stop_joining();
  queue.add_datagram(peer, guest, as_bytes("aaaa"));
  queue.add_datagram(peer, guest, as_bytes("bbbb"));
  EXPECT_EQ(queue.count(), 2u);
}

TEST(PacketQueue, OnlyAFinishedPacketIsRead) {
  std::vector<std::uint8_t> frame(PacketQueue::kVirtioHeader + 1);
  EXPECT_TRUE(PacketQueue::is_finished(frame));
  EXPECT_FALSE(PacketQueue::is_finished(Bytes(frame).first(PacketQueue::kVirtioHeader)));
  EXPECT_FALSE(PacketQueue::is_finished({}));
  frame[0] = 1;  // a checksum is missing
  EXPECT_FALSE(PacketQueue::is_finished(frame));
  frame[0] = 2;  // the kernel vouches for it
  EXPECT_TRUE(PacketQueue::is_finished(frame));
  frame[1] = 1;  // TCP to be cut
  EXPECT_FALSE(PacketQueue::is_finished(frame));
}

}  // namespace
}  // namespace weir::gateway
