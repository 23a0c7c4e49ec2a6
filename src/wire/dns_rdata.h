// Record data that may hold names, written anew. Inside the room only.
#pragma once

#include <optional>
#include <vector>

#include "wire/dns.h"

namespace weir::wire::dns {

// The rdata of `size` bytes at `offset` of `message`, with every name decompressed and, for HTTPS and SVCB, without the
// parameters that hide a name (`ech`) or bring addresses past the judgement (hints). Types whose layout is not known
// here are copied: RFC 3597 forbids them to compress. nullopt: the data does not have the layout of its type.
std::optional<std::vector<std::uint8_t>> reencode_rdata(Type type, Bytes message, std::size_t offset, std::size_t size);

}  // namespace weir::wire::dns
