// One description of a message serves both directions: each message type has
//   template <class Self, class Visitor> static void fields(Self& self, Visitor& visit)
// and the encoder and the decoder walk the same fields. Network order; strings, names and lists carry their count and
// are bounded; a decoder accepts nothing short, nothing long and no value outside its type.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "net/domain_name.h"
#include "net/ip_address.h"

namespace weir::control {

// Lists in messages: the addresses of one answer, the names of one CNAME chain.
inline constexpr std::size_t kMaxListed = 32;
// Text in messages: one line of an error. Two fit into a message beside anything else.
inline constexpr std::size_t kMaxText = 1024;
// The largest message: 32 addresses, 8 aliases and a name are 2.8 KiB.
inline constexpr std::size_t kMaxMessage = 4096;

// An enum that travels says how many values it has.
template <class E>
concept CountedEnum = std::is_enum_v<E> && requires { E::count_; };

class Encoder {
 public:
  explicit Encoder(MutableBytes buffer) : writer_(buffer) {}

  void operator()(const std::uint8_t& value) { writer_.u8(value); }
  void operator()(const std::uint16_t& value) { writer_.u16(value); }
  void operator()(const std::uint32_t& value) { writer_.u32(value); }
  void operator()(const std::uint64_t& value) {
    writer_.u32(static_cast<std::uint32_t>(value >> 32));
    writer_.u32(static_cast<std::uint32_t>(value));
  }
  void operator()(const bool& value) { writer_.u8(value ? 1 : 0); }
  template <CountedEnum E>
  void operator()(const E& value) {
    writer_.u8(static_cast<std::uint8_t>(value));
  }
  void operator()(const net::Protocol& value) { writer_.u8(static_cast<std::uint8_t>(value)); }
  void operator()(const net::IpAddress& value) { writer_.bytes(value.bytes()); }
  void operator()(const net::Endpoint& value) {
    (*this)(value.address);
    writer_.u16(value.port);
  }
  void operator()(const net::DomainName& value) {
    writer_.u8(static_cast<std::uint8_t>(value.text().size()));
    writer_.bytes(as_bytes(value.text()));
  }
  // Text longer than the bound is cut: what travels as text is for people.
  void operator()(const std::string& value) {
    const std::string_view text = std::string_view(value).substr(0, kMaxText);
    writer_.u16(static_cast<std::uint16_t>(text.size()));
    writer_.bytes(as_bytes(text));
  }
  template <class T>
  void operator()(const std::optional<T>& value) {
    writer_.u8(value ? 1 : 0);
    if (value) (*this)(*value);
  }
  template <class T>
  void operator()(const std::vector<T>& values) {
    WEIR_ASSERT(values.size() <= kMaxListed);
    writer_.u8(static_cast<std::uint8_t>(values.size()));
    for (const T& value : values) (*this)(value);
  }

  ByteWriter& writer() { return writer_; }

 private:
  ByteWriter writer_;
};

class Decoder {
 public:
  explicit Decoder(Bytes bytes) : reader_(bytes) {}

  bool ok() const { return ok_ && reader_.remaining() == 0; }

  void operator()(std::uint8_t& value) { value = take(reader_.u8()); }
  void operator()(std::uint16_t& value) { value = take(reader_.u16()); }
  void operator()(std::uint32_t& value) { value = take(reader_.u32()); }
  void operator()(std::uint64_t& value) {
    const auto high = static_cast<std::uint64_t>(take(reader_.u32()));
    value = (high << 32) | take(reader_.u32());
  }
  void operator()(bool& value) {
    const std::uint8_t byte = take(reader_.u8());
    if (byte > 1) ok_ = false;
    value = byte == 1;
  }
  template <CountedEnum E>
  void operator()(E& value) {
    const std::uint8_t byte = take(reader_.u8());
    if (byte >= static_cast<std::uint8_t>(E::count_)) ok_ = false;
    value = ok_ ? static_cast<E>(byte) : E{};
  }
  void operator()(net::Protocol& value) {
    const std::uint8_t byte = take(reader_.u8());
    if (byte < static_cast<std::uint8_t>(net::Protocol::tcp) || byte > static_cast<std::uint8_t>(net::Protocol::icmp))
      ok_ = false;
    value = ok_ ? static_cast<net::Protocol>(byte) : net::Protocol::tcp;
  }
  void operator()(std::string& value) {
    const std::uint16_t size = take(reader_.u16());
    const auto bytes = size <= kMaxText ? reader_.take(size) : std::nullopt;
    if (!bytes) {
      ok_ = false;
      return;
    }
    value = as_text(*bytes);
  }
  void operator()(net::IpAddress& value) {
    const auto bytes = reader_.take(16);
    if (!bytes) {
      ok_ = false;
      return;
    }
    net::IpAddress::V6 raw{};
    std::copy(bytes->begin(), bytes->end(), raw.begin());
    value = net::IpAddress::v6(raw);
  }
  void operator()(net::Endpoint& value) {
    (*this)(value.address);
    (*this)(value.port);
  }
  void operator()(std::optional<net::DomainName>& value) {
    bool present = false;
    (*this)(present);
    if (present) value = name();
  }
  template <class T>
  void operator()(std::vector<T>& values) {
    const std::uint8_t count = take(reader_.u8());
    if (count > kMaxListed) ok_ = false;
    for (std::uint8_t i = 0; ok_ && i < count; ++i) add_to(values);
  }

 private:
  template <class T>
  T take(std::optional<T> value) {
    if (!value) ok_ = false;
    return value.value_or(T{});
  }
  void add_to(std::vector<net::IpAddress>& values) { (*this)(values.emplace_back()); }
  void add_to(std::vector<net::DomainName>& values) {
    if (auto parsed = name()) values.push_back(std::move(*parsed));
  }
  // Only a name in canonical form is accepted: the sender has parsed it before.
  std::optional<net::DomainName> name() {
    const auto bytes = reader_.take(take(reader_.u8()));
    if (!bytes) {
      ok_ = false;
      return std::nullopt;
    }
    auto parsed = net::DomainName::parse(as_text(*bytes));
    if (!parsed || parsed->text() != as_text(*bytes)) {
      ok_ = false;
      return std::nullopt;
    }
    return std::move(*parsed);
  }

  ByteReader reader_;
  bool ok_ = true;
};

// Writes the variant's index and the alternative's fields; returns the bytes written.
template <class... Messages>
Bytes encode(const std::variant<Messages...>& message, MutableBytes buffer) {
  Encoder encoder(buffer);
  encoder(static_cast<std::uint8_t>(message.index()));
  std::visit([&](const auto& alternative) { std::decay_t<decltype(alternative)>::fields(alternative, encoder); },
             message);
  WEIR_ASSERT(encoder.writer().ok());
  return encoder.writer().written();
}

namespace detail {

template <class Variant, std::size_t Index = 0>
std::optional<Variant> decode_alternative(std::size_t index, Bytes body) {
  if constexpr (Index == std::variant_size_v<Variant>) {
    return std::nullopt;
  } else {
    if (index != Index) return decode_alternative<Variant, Index + 1>(index, body);
    std::variant_alternative_t<Index, Variant> message;
    Decoder decoder(body);
    std::variant_alternative_t<Index, Variant>::fields(message, decoder);
    if (!decoder.ok()) return std::nullopt;
    return Variant(std::move(message));
  }
}

}  // namespace detail

// nullopt: not a message of this set. The peer is broken or hostile; there is no partial result.
template <class Variant>
std::optional<Variant> decode(Bytes bytes) {
  if (bytes.empty()) return std::nullopt;
  return detail::decode_alternative<Variant>(bytes[0], bytes.subspan(1));
}

}  // namespace weir::control
