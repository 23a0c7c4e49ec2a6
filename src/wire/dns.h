// DNS messages in both directions of the resolver (RFC 1035, 6891, 8914).
//
// The guest's query is parsed strictly into a Query and never forwarded: what goes upstream is written afresh from the
// judged name and the type alone. The upstream's response is parsed strictly into addresses or re-encoded records, and
// the guest's response is written afresh from those. No byte passes through both ways unseen but the rdata of types
// that carry no names.
//
// Messages are without the two-byte length that TCP puts in front. Times to live are seconds.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "net/domain_name.h"
#include "net/ip_address.h"
#include "wire/dns_name.h"

namespace weir::wire::dns {

inline constexpr std::size_t kMaxMessage = 65535;  // the length field of TCP
inline constexpr std::size_t kMaxUdpSize = 1232;   // fits the minimum IPv6 MTU, so it never fragments
inline constexpr std::size_t kMinUdpSize = 512;    // RFC 1035 4.2.1
// A name in use leads to far fewer; policy.md section 4.
inline constexpr std::size_t kMaxAddresses = 32;
inline constexpr std::size_t kMaxChain = 8;
// More answer records than any of the sections above leaves room for has an attacker behind it.
inline constexpr std::size_t kMaxRecords = 1024;
inline constexpr std::uint32_t kMaxTtl = 7 * 24 * 3600;  // RFC 8767 4

// Types are an open set, hence numbers.
using Type = std::uint16_t;
namespace type {
inline constexpr Type kA = 1;
inline constexpr Type kNs = 2;
inline constexpr Type kCname = 5;
inline constexpr Type kSoa = 6;
inline constexpr Type kPtr = 12;
inline constexpr Type kMx = 15;
inline constexpr Type kTxt = 16;
inline constexpr Type kAaaa = 28;
inline constexpr Type kSrv = 33;
inline constexpr Type kOpt = 41;
inline constexpr Type kSvcb = 64;
inline constexpr Type kHttps = 65;
}  // namespace type

// False for what stands for no data of its own: 0, OPT, and the range of query and meta types 128-255 (RFC 6895 3.1),
// in which ANY, AXFR, IXFR, TKEY and TSIG lie.
bool is_data_type(Type type);
// "A", "MX", or "TYPE257" (RFC 3597 5).
std::string type_text(Type type);

enum class Rcode : std::uint8_t {
  no_error = 0,
  format_error = 1,
  server_failure = 2,
  name_error = 3,
  not_implemented = 4,
  refused = 5,
};

// ---- The guest's query

struct Query {
  std::uint16_t id = 0;
  Name name;  // in the guest's own case
  // nullopt: the name is no host name; it must be refused, not asked.
  std::optional<net::DomainName> host;
  Type type = 0;
  bool recursion_desired = false;
  bool checking_disabled = false;
  bool has_edns = false;
  bool dnssec_ok = false;
  std::uint16_t edns_size = 0;  // as the guest states it

  // What a response over UDP may have.
  std::size_t udp_limit() const;
};

enum class QueryFault : std::uint8_t {
  drop,             // no header, or a response: an answer could start a loop
  format_error,     // FORMERR
  not_implemented,  // another opcode: NOTIMP
  refused_class,    // another class than IN: REFUSED
  bad_version,      // EDNS above version 0: BADVERS
};
struct BadQuery {
  QueryFault fault = QueryFault::drop;
  std::uint16_t id = 0;
  std::uint8_t opcode = 0;
  bool recursion_desired = false;
  Bytes question;  // of the guest's message, to be echoed; empty if it could not be read
};

// Strict: opcode QUERY, one question of class IN with an uncompressed name, no other records but one OPT at most, no
// byte behind. EDNS options are skipped unread.
std::expected<Query, BadQuery> parse_query(Bytes message);

// ---- The response to the guest

// A record of the asked type; its owner is the question. No compression pointers in `rdata`.
struct Record {
  std::uint32_t ttl = 0;
  std::vector<std::uint8_t> rdata;
};

// RFC 8914. Written only if the query had EDNS.
struct ExtendedError {
  std::uint16_t code = 0;
  std::string_view text;  // UTF-8 for people; may be empty; left out if longer than kMaxErrorText
};
inline constexpr std::uint16_t kEdeBlocked = 15;
inline constexpr std::size_t kMaxErrorText = 200;  // one line of a log

struct Answer {
  Rcode rcode = Rcode::no_error;
  // Addresses of the asked family are written, with `ttl`; others are left out.
  std::span<const net::IpAddress> addresses;
  std::uint32_t ttl = 0;
  // For the types that have no addresses.
  std::span<const Record> records;
  std::optional<ExtendedError> extended_error;
};

enum class Carrier : std::uint8_t { udp, tcp };

// Over UDP an answer beyond query.udp_limit() becomes an empty one with TC, for which kMinUdpSize bytes always suffice.
// Nothing is written where `buffer` is too small; kMaxMessage bytes suffice for whatever parse_response() returned.
Bytes build_response(const Query& query, const Answer& answer, Carrier carrier, MutableBytes buffer);
// Empty for QueryFault::drop.
Bytes build_error(const BadQuery& query, MutableBytes buffer);

// ---- Upstream

struct UpstreamQuery {
  std::uint16_t id = 0;
  Name name;  // with the case that was drawn for it
  Type type = 0;
};
// `id` and `random` come from a source that the upstream and the guest cannot predict.
UpstreamQuery make_upstream_query(const net::DomainName& name, Type type, std::uint16_t id,
                                  std::span<const std::uint8_t, 32> random);
// RD, our own EDNS with kMaxUdpSize and no options, nothing else. kMinUdpSize bytes suffice.
Bytes write_query(const UpstreamQuery& query, MutableBytes buffer);

enum class ResponseFault : std::uint8_t {
  not_ours,       // other id, name, type or class, or no response: ignore it and wait on
  case_mismatch,  // ours but for the case of the name: a forgery, or a server that folds case; ask again over TCP
  malformed,      // breaks the format, or the records contradict each other
  chain,          // CNAMEs loop, are more than kMaxChain, or lead to what is no host name
};

struct Response {
  Rcode rcode = Rcode::no_error;  // what is not in the enum becomes server_failure
  bool truncated = false;         // then nothing below is filled in
  // The CNAME targets from the question on, in order. An entry that equals no host name fails the whole response.
  std::vector<net::DomainName> chain;
  // For A and AAAA: distinct addresses at the chain's end, kMaxAddresses at most. A mapped address in an AAAA is IPv4
  // here and must be judged as such; build_response() leaves it out.
  std::vector<net::IpAddress> addresses;
  // For other types: the records at the chain's end, names decompressed; HTTPS and SVCB without `ech` and hints.
  std::vector<Record> records;
  std::uint32_t ttl = kMaxTtl;  // the least of everything used
};

// Looks at header, question and answer section only. CNAMEs synthesised from a DNAME are CNAMEs; the DNAME is skipped.
std::expected<Response, ResponseFault> parse_response(Bytes message, const UpstreamQuery& query);

}  // namespace weir::wire::dns
