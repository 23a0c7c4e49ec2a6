// What Header::hash says. Internal to this room.
#pragma once

#include "policy/compiled/format.h"
#include "policy/compiled/hash.h"
#include "policy/compiled/record_span.h"

namespace weir::policy {

// Over the header behind the hash and over the sections that it names. Layers are in it by the checksums of their
// records. `bytes_at(offset, size)` gives a part of the image; the sections must fit into it.
template <class BytesAt>
std::array<char, format::kHashDigits> digest_of(const format::Header& header, BytesAt bytes_at) {
  const auto* const start = reinterpret_cast<const std::uint8_t*>(&header);
  std::uint64_t state = hash_bytes(Bytes(start, sizeof(header)).subspan(format::kHashedFrom));
  const auto add = [&](format::Section section, std::size_t record_size) {
    if (section.count == 0) return;
    state = hash_bytes(bytes_at(section.offset, section.count * record_size), state);
  };
  add(header.layers, sizeof(format::LayerRecord));
  add(header.nat64_prefixes, sizeof(format::CidrRecord));
  add(header.self_addresses, sizeof(format::AddressRecord));
  add(header.lifted, sizeof(format::AddressRecord));
  add(header.upstreams, sizeof(format::UpstreamRecord));
  add(header.publishes, sizeof(format::PublishRecord));
  add(header.egress, sizeof(format::EgressRecord));
  add(header.egress_text, sizeof(char));
  return hex_digits(state);
}

}  // namespace weir::policy
