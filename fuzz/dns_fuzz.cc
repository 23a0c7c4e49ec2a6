// Any bytes as a guest's query and as an upstream's response. What is written from them must be read back.
#include <array>
#include <vector>

#include "base/error.h"
#include "wire/dns.h"

namespace {

using namespace weir;
using namespace weir::wire::dns;

// Reads our own response as a stub resolver would.
void check_readable(Bytes written, const Query& query) {
  const UpstreamQuery mirror{query.id, query.name, query.type};
  const auto response = parse_response(written, mirror);
  WEIR_ASSERT(response.has_value());
}

void check_as_query(Bytes message) {
  const auto query = parse_query(message);
  std::array<std::uint8_t, kMinUdpSize> small{};
  if (!query) {
    const Bytes error = build_error(query.error(), small);
    WEIR_ASSERT(error.empty() == (query.error().fault == QueryFault::drop));
    return;
  }
  const std::array<net::IpAddress, 2> addresses = {net::IpAddress::v4(0xc0000201), net::IpAddress()};
  Answer answer;
  answer.addresses = addresses;
  answer.extended_error = ExtendedError{kEdeBlocked, "no-rule"};
  const Bytes written = build_response(*query, answer, Carrier::udp, small);
  WEIR_ASSERT(!written.empty() && written.size() <= query->udp_limit());
  check_readable(written, *query);
}

// The message's own id and question are taken as what was asked, or nothing would get past the first check.
void check_as_response(Bytes message) {
  if (message.size() < 12) return;
  const auto name = read_name(message, 12, Compression::forbidden);
  if (!name || message.size() - name->next < 4) return;
  const auto u16_at = [&](std::size_t at) { return static_cast<std::uint16_t>((message[at] << 8) | message[at + 1]); };
  const UpstreamQuery asked{u16_at(0), name->name, u16_at(name->next)};
  const auto response = parse_response(message, asked);
  if (!response) return;
  WEIR_ASSERT(response->addresses.size() <= kMaxAddresses && response->chain.size() <= kMaxChain);
  Query query;
  query.id = asked.id;
  query.name = asked.name;
  query.type = asked.type;
  Answer answer;
  answer.rcode = response->rcode;
  answer.addresses = response->addresses;
  answer.ttl = response->ttl;
  answer.records = response->records;
  std::vector<std::uint8_t> large(kMaxMessage);
  const Bytes written = build_response(query, answer, Carrier::tcp, large);
  WEIR_ASSERT(!written.empty());
  const auto again = parse_response(written, asked);
  WEIR_ASSERT(again.has_value() && again->records.size() == response->records.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes message(data, size);
  check_as_query(message);
  check_as_response(message);
  for (std::size_t at = 12; at < size && at < 64; ++at) {
    if (const auto name = read_name(message, at, Compression::allowed)) {
      if (const auto host = name->name.host()) WEIR_ASSERT(Name::of(*host).same_name(name->name));
    }
  }
  return 0;
}
