// The guest's side of dns.h: reading its query, writing the response to it.
#include <algorithm>

#include "wire/dns.h"
#include "wire/dns_format.h"

namespace weir::wire::dns {

namespace {

constexpr std::uint16_t kDnssecOk = 0x8000;
constexpr std::uint16_t kExtendedErrorOption = 15;  // RFC 8914 2
constexpr std::uint8_t kBadVersion = 16;            // RFC 6891 9

struct Counts {
  std::uint16_t questions, answers, authorities, additionals;
};

enum class OptRead : std::uint8_t { ok, malformed, bad_version };

// The OPT record, which must be all that is left of the message.
OptRead read_opt(ByteReader& reader, Query& query) {
  const auto name = reader.u8();
  const auto type = reader.u16();
  const auto size = reader.u16();
  const auto extended_rcode = reader.u8();
  const auto version = reader.u8();
  const auto flags = reader.u16();
  const auto length = reader.u16();
  if (!length || *name != 0 || *type != type::kOpt || reader.remaining() != *length) return OptRead::malformed;
  ByteReader options(*reader.take(*length));
  while (options.remaining() > 0) {
    const auto code = options.u16();
    const auto option_length = options.u16();
    if (!code || !option_length || !options.take(*option_length)) return OptRead::malformed;
  }
  if (*version != 0) return OptRead::bad_version;
  static_cast<void>(extended_rcode);  // means nothing in a query
  query.has_edns = true;
  query.edns_size = *size;
  query.dnssec_ok = (*flags & kDnssecOk) != 0;
  return OptRead::ok;
}

void write_opt(ByteWriter& writer, std::uint8_t extended_rcode, bool dnssec_ok,
               const std::optional<ExtendedError>& error) {
  writer.u8(0);
  writer.u16(type::kOpt);
  writer.u16(static_cast<std::uint16_t>(kMaxUdpSize));
  writer.u8(extended_rcode);
  writer.u8(0);
  writer.u16(dnssec_ok ? kDnssecOk : 0);
  if (!error) {
    writer.u16(0);
    return;
  }
  const std::string_view text = error->text.size() <= kMaxErrorText ? error->text : std::string_view{};
  const auto text_size = static_cast<std::uint16_t>(text.size());
  writer.u16(static_cast<std::uint16_t>(text_size + 6));
  writer.u16(kExtendedErrorOption);
  writer.u16(static_cast<std::uint16_t>(text_size + 2));
  writer.u16(error->code);
  writer.bytes(as_bytes(text));
}

void write_record(ByteWriter& writer, Type type, std::uint32_t ttl, Bytes rdata) {
  writer.u16(kPointerToQuestion);
  writer.u16(type);
  writer.u16(kClassIn);
  writer.u32(ttl);
  writer.u16(static_cast<std::uint16_t>(rdata.size()));
  writer.bytes(rdata);
}

// Returns how many were written.
std::uint16_t write_answers(ByteWriter& writer, Type type, const Answer& answer) {
  std::uint16_t count = 0;
  if (type == type::kA || type == type::kAaaa) {
    for (const net::IpAddress& address : answer.addresses) {
      if (address.is_v4() != (type == type::kA)) continue;
      const auto octets = address.v4_octets();
      write_record(writer, type, answer.ttl, address.is_v4() ? Bytes(octets) : Bytes(address.bytes()));
      ++count;
    }
    return count;
  }
  for (const Record& record : answer.records) {
    write_record(writer, type, record.ttl, record.rdata);
    ++count;
  }
  return count;
}

enum class Shape : std::uint8_t { full, truncated, truncated_without_text };

Bytes write_response(const Query& query, const Answer& answer, Shape shape, MutableBytes buffer) {
  using namespace flag;
  ByteWriter writer(buffer);
  unsigned flags = kResponse | kRecursionAvailable | static_cast<unsigned>(answer.rcode);
  if (query.recursion_desired) flags |= kRecursionDesired;
  if (query.checking_disabled) flags |= kCheckingDisabled;
  if (shape != Shape::full) flags |= kTruncated;
  writer.u16(query.id);
  writer.u16(static_cast<std::uint16_t>(flags));
  writer.u16(1);
  writer.u32(0);
  writer.u16(query.has_edns ? 1 : 0);
  writer.bytes(query.name.bytes());
  writer.u16(query.type);
  writer.u16(kClassIn);
  if (shape == Shape::full) {
    const std::uint16_t count = write_answers(writer, query.type, answer);
    if (writer.ok()) writer.patch_u16(6, count);
  }
  auto error = answer.extended_error;
  if (error && shape == Shape::truncated_without_text) error->text = {};
  if (query.has_edns) write_opt(writer, 0, query.dnssec_ok, error);
  return writer.ok() ? writer.written() : Bytes{};
}

}  // namespace

std::size_t Query::udp_limit() const {
  if (!has_edns) return kMinUdpSize;
  return std::clamp<std::size_t>(edns_size, kMinUdpSize, kMaxUdpSize);
}

std::expected<Query, BadQuery> parse_query(Bytes message) {
  ByteReader reader(message);
  const auto id = reader.u16();
  const auto flags = reader.u16();
  const Counts counts{reader.u16().value_or(0), reader.u16().value_or(0), reader.u16().value_or(0),
                      reader.u16().value_or(0)};
  BadQuery bad;
  if (message.size() < kHeaderSize || message.size() > kMaxMessage) return std::unexpected(bad);
  if ((*flags & flag::kResponse) != 0) return std::unexpected(bad);
  const auto fail_with = [&](QueryFault fault) {
    bad.fault = fault;
    return std::unexpected(bad);
  };
  Query query;
  query.id = bad.id = *id;
  query.recursion_desired = bad.recursion_desired = (*flags & flag::kRecursionDesired) != 0;
  query.checking_disabled = (*flags & flag::kCheckingDisabled) != 0;
  bad.opcode = (*flags >> flag::kOpcodeShift) & 0x0f;
  if (bad.opcode != 0) return fail_with(QueryFault::not_implemented);
  if ((*flags & flag::kTruncated) != 0 || counts.questions != 1 || counts.answers != 0 || counts.authorities != 0 ||
      counts.additionals > 1) {
    return fail_with(QueryFault::format_error);
  }
  const auto name = read_name(message, kHeaderSize, Compression::forbidden);
  if (!name) return fail_with(QueryFault::format_error);
  ByteReader rest(message.subspan(name->next));
  const auto type = rest.u16();
  const auto query_class = rest.u16();
  if (!query_class) return fail_with(QueryFault::format_error);
  bad.question = message.subspan(kHeaderSize, name->next + 4 - kHeaderSize);
  query.name = name->name;
  query.type = *type;
  const OptRead opt = counts.additionals == 1 ? read_opt(rest, query) : OptRead::ok;
  if (opt == OptRead::malformed || (counts.additionals == 0 && rest.remaining() != 0)) {
    return fail_with(QueryFault::format_error);
  }
  if (opt == OptRead::bad_version) return fail_with(QueryFault::bad_version);
  if (*query_class != kClassIn) return fail_with(QueryFault::refused_class);
  query.host = query.name.host();
  return query;
}

Bytes build_response(const Query& query, const Answer& answer, Carrier carrier, MutableBytes buffer) {
  if (carrier == Carrier::tcp) return write_response(query, answer, Shape::full, buffer);
  const MutableBytes room = buffer.first(std::min(buffer.size(), query.udp_limit()));
  for (const Shape shape : {Shape::full, Shape::truncated, Shape::truncated_without_text}) {
    const Bytes written = write_response(query, answer, shape, room);
    if (!written.empty()) return written;
  }
  return {};
}

Bytes build_error(const BadQuery& query, MutableBytes buffer) {
  Rcode rcode = Rcode::format_error;
  switch (query.fault) {
    case QueryFault::drop:
      return {};
    case QueryFault::format_error:
      break;
    case QueryFault::not_implemented:
      rcode = Rcode::not_implemented;
      break;
    case QueryFault::refused_class:
      rcode = Rcode::refused;
      break;
    case QueryFault::bad_version:
      rcode = Rcode::no_error;  // the low four bits of BADVERS; the others are in OPT
      break;
  }
  const bool bad_version = query.fault == QueryFault::bad_version;
  ByteWriter writer(buffer);
  writer.u16(query.id);
  unsigned flags = flag::kResponse | flag::kRecursionAvailable | static_cast<unsigned>(rcode);
  flags |= static_cast<unsigned>(query.opcode) << flag::kOpcodeShift;
  if (query.recursion_desired) flags |= flag::kRecursionDesired;
  writer.u16(static_cast<std::uint16_t>(flags));
  writer.u16(query.question.empty() ? 0 : 1);
  writer.u32(0);
  writer.u16(bad_version ? 1 : 0);
  writer.bytes(query.question);
  if (bad_version) write_opt(writer, kBadVersion >> 4, false, std::nullopt);
  return writer.ok() ? writer.written() : Bytes{};
}

}  // namespace weir::wire::dns
