// The upstream's side of dns.h: writing a query, reading the response to it.
#include <algorithm>

#include "wire/dns.h"
#include "wire/dns_format.h"
#include "wire/dns_rdata.h"

namespace weir::wire::dns {

namespace {

constexpr Type kDname = 39;
// What all records of a response may fill once rewritten: with the question and one OPT it stays below kMaxMessage.
constexpr std::size_t kMaxRewritten = 64000;
constexpr std::size_t kRecordOverhead = 12;

struct RawRecord {
  Name owner;
  Type type = 0;
  std::uint32_t ttl = 0;
  std::size_t offset = 0;  // of the rdata in the message
  std::size_t size = 0;
};

// nullopt: cut short or broken. Records of other classes are refused with the whole message: nothing asked for them.
std::optional<RawRecord> read_record(Bytes message, std::size_t& at) {
  const auto owner = read_name(message, at, Compression::allowed);
  if (!owner) return std::nullopt;
  ByteReader reader(message.subspan(owner->next));
  const auto type = reader.u16();
  const auto record_class = reader.u16();
  const auto ttl = reader.u32();
  const auto size = reader.u16();
  if (!size || *record_class != kClassIn || reader.remaining() < *size) return std::nullopt;
  RawRecord record;
  record.owner = owner->name;
  record.type = *type;
  // The high bit set means zero (RFC 2181 8).
  record.ttl = (*ttl >> 31) != 0 ? 0 : std::min(*ttl, kMaxTtl);
  record.offset = owner->next + reader.offset();
  record.size = *size;
  at = record.offset + record.size;
  return record;
}

std::optional<std::vector<RawRecord>> read_answer_section(Bytes message, std::size_t at, std::size_t count) {
  if (count > kMaxRecords) return std::nullopt;
  std::vector<RawRecord> records;
  // The count is the sender's word; the bytes that are there bound it better.
  records.reserve(std::min(count, message.size() / kRecordOverhead));
  for (std::size_t i = 0; i < count; ++i) {
    auto record = read_record(message, at);
    if (!record) return std::nullopt;
    records.push_back(*record);
  }
  return records;
}

Rcode rcode_of(std::uint16_t flags) {
  switch (flags & 0x0f) {
    case 0:
      return Rcode::no_error;
    case 1:
      return Rcode::format_error;
    case 3:
      return Rcode::name_error;
    case 4:
      return Rcode::not_implemented;
    case 5:
      return Rcode::refused;
    default:
      return Rcode::server_failure;
  }
}

// The target of the CNAME at `owner`, if there is one. `fault` is set where two disagree or the target is broken.
std::optional<Name> cname_at(Bytes message, const std::vector<RawRecord>& records, const Name& owner,
                             Response& response, std::optional<ResponseFault>& fault) {
  std::optional<Name> target;
  for (const RawRecord& record : records) {
    if (record.type != type::kCname || !record.owner.same_name(owner)) continue;
    const auto name = read_name(message, record.offset, Compression::allowed);
    const bool broken = !name || name->next != record.offset + record.size;
    if (broken || (target && !target->same_name(name->name))) {
      fault = ResponseFault::malformed;
      return std::nullopt;
    }
    target = name->name;
    response.ttl = std::min(response.ttl, record.ttl);
  }
  return target;
}

// Fills response.chain and returns the name at which the answer stands.
std::expected<Name, ResponseFault> follow_chain(Bytes message, const std::vector<RawRecord>& records, const Name& asked,
                                                Response& response) {
  std::vector<Name> seen = {asked};
  for (;;) {
    std::optional<ResponseFault> fault;
    const auto target = cname_at(message, records, seen.back(), response, fault);
    if (fault) return std::unexpected(*fault);
    if (!target) return seen.back();
    const bool loops = std::ranges::any_of(seen, [&](const Name& name) { return name.same_name(*target); });
    auto host = target->host();
    if (loops || !host || response.chain.size() == kMaxChain) return std::unexpected(ResponseFault::chain);
    response.chain.push_back(std::move(*host));
    seen.push_back(*target);
  }
}

// False: a record of the asked type whose data has the wrong size.
bool collect_address(Bytes message, const RawRecord& record, Response& response) {
  const Bytes rdata = message.subspan(record.offset, record.size);
  net::IpAddress address;
  if (record.type == type::kA) {
    if (rdata.size() != 4) return false;
    address = net::IpAddress::v4({rdata[0], rdata[1], rdata[2], rdata[3]});
  } else {
    net::IpAddress::V6 octets{};
    if (rdata.size() != octets.size()) return false;
    std::ranges::copy(rdata, octets.begin());
    address = net::IpAddress::v6(octets);
  }
  response.ttl = std::min(response.ttl, record.ttl);
  if (response.addresses.size() < kMaxAddresses &&
      std::ranges::find(response.addresses, address) == response.addresses.end()) {
    response.addresses.push_back(address);
  }
  return true;
}

bool collect(Bytes message, const std::vector<RawRecord>& records, const Name& owner, Type type, Response& response) {
  std::size_t rewritten = 0;
  for (const RawRecord& record : records) {
    if (record.type != type || !record.owner.same_name(owner)) continue;
    if (type == type::kA || type == type::kAaaa) {
      if (!collect_address(message, record, response)) return false;
      continue;
    }
    auto rdata = reencode_rdata(type, message, record.offset, record.size);
    if (!rdata) return false;
    rewritten += rdata->size() + kRecordOverhead;
    if (rewritten > kMaxRewritten) return false;
    response.ttl = std::min(response.ttl, record.ttl);
    response.records.push_back({record.ttl, std::move(*rdata)});
  }
  return true;
}

}  // namespace

UpstreamQuery make_upstream_query(const net::DomainName& name, Type type, std::uint16_t id,
                                  std::span<const std::uint8_t, 32> random) {
  return {id, Name::of(name).with_random_case(random), type};
}

Bytes write_query(const UpstreamQuery& query, MutableBytes buffer) {
  ByteWriter writer(buffer);
  writer.u16(query.id);
  writer.u16(flag::kRecursionDesired);
  writer.u16(1);
  writer.u32(0);
  writer.u16(1);
  writer.bytes(query.name.bytes());
  writer.u16(query.type);
  writer.u16(kClassIn);
  writer.u8(0);
  writer.u16(type::kOpt);
  writer.u16(static_cast<std::uint16_t>(kMaxUdpSize));
  writer.u32(0);
  writer.u16(0);
  return writer.ok() ? writer.written() : Bytes{};
}

std::expected<Response, ResponseFault> parse_response(Bytes message, const UpstreamQuery& query) {
  if (message.size() < kHeaderSize || message.size() > kMaxMessage) return std::unexpected(ResponseFault::not_ours);
  ByteReader header(message);
  const std::uint16_t id = *header.u16();
  const std::uint16_t flags = *header.u16();
  const std::uint16_t questions = *header.u16();
  const std::uint16_t answers = *header.u16();
  if (id != query.id || (flags & flag::kResponse) == 0) return std::unexpected(ResponseFault::not_ours);
  if (((flags >> flag::kOpcodeShift) & 0x0f) != 0) return std::unexpected(ResponseFault::not_ours);
  if (questions != 1) return std::unexpected(ResponseFault::malformed);
  const auto name = read_name(message, kHeaderSize, Compression::forbidden);
  if (!name) return std::unexpected(ResponseFault::malformed);
  ByteReader rest(message.subspan(name->next));
  const auto type = rest.u16();
  const auto response_class = rest.u16();
  if (!response_class) return std::unexpected(ResponseFault::malformed);
  if (*type != query.type || *response_class != kClassIn || !name->name.same_name(query.name)) {
    return std::unexpected(ResponseFault::not_ours);
  }
  if (!name->name.same_bytes(query.name)) return std::unexpected(ResponseFault::case_mismatch);
  Response response;
  response.rcode = rcode_of(flags);
  response.truncated = (flags & flag::kTruncated) != 0;
  if (response.truncated) return response;
  const auto records = read_answer_section(message, name->next + 4, answers);
  if (!records) return std::unexpected(ResponseFault::malformed);
  Name end = name->name;
  if (query.type != type::kCname) {
    auto followed = follow_chain(message, *records, end, response);
    if (!followed) return std::unexpected(followed.error());
    end = *followed;
  }
  if (!collect(message, *records, end, query.type, response)) return std::unexpected(ResponseFault::malformed);
  return response;
}

bool is_data_type(Type type) {
  return type != 0 && type != type::kOpt && (type < 128 || type > 255);
}

std::string type_text(Type type) {
  struct Known {
    Type type;
    std::string_view text;
  };
  static constexpr Known kKnown[] = {
      {type::kA, "A"},
      {type::kNs, "NS"},
      {type::kCname, "CNAME"},
      {type::kSoa, "SOA"},
      {type::kPtr, "PTR"},
      {13, "HINFO"},
      {type::kMx, "MX"},
      {type::kTxt, "TXT"},
      {type::kAaaa, "AAAA"},
      {29, "LOC"},
      {type::kSrv, "SRV"},
      {35, "NAPTR"},
      {kDname, "DNAME"},
      {43, "DS"},
      {44, "SSHFP"},
      {46, "RRSIG"},
      {47, "NSEC"},
      {48, "DNSKEY"},
      {52, "TLSA"},
      {type::kSvcb, "SVCB"},
      {type::kHttps, "HTTPS"},
      {252, "AXFR"},
      {255, "ANY"},
      {256, "URI"},
      {257, "CAA"},
  };
  const auto* known = std::ranges::find(kKnown, type, &Known::type);
  return known != std::end(kKnown) ? std::string(known->text) : "TYPE" + std::to_string(type);
}

}  // namespace weir::wire::dns
