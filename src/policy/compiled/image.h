// A compiled policy: one flat, position-independent block of bytes that is mapped read-only and never changes.
//
// policy/text compiles it; supervisor and gateway open the same bytes (a sealed memory file). open() validates where
// everything lies, and every look-up checks what it follows, so a view over an image is safe to use even if the bytes
// are hostile, and opening a million names touches none of them. Layout: format.h. Names are found by one hash probe
// per label, CIDRs by one probe per prefix length in use, however many entries there are.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "net/ip_address.h"
#include "policy/compiled/verdict.h"

namespace weir::policy {

// `host` has no policy at all and is in no image.
enum class Mode : std::uint8_t { none, inbound, allowlist, publicly, semitrusted, open, host };
inline constexpr std::uint8_t kModeCount = static_cast<std::uint8_t>(Mode::host) + 1;
std::string_view name_of(Mode mode);  // "none", "inbound", "allowlist", "public", ...

// require_name: must a live name lead to every address?
enum class NameNeed : std::uint8_t { optional, required };

// dns.upstream
struct DnsUpstream {
  enum class Transport : std::uint8_t { plain = 1, tls = 2 };
  Transport transport = Transport::plain;
  net::Endpoint endpoint;
  friend bool operator==(const DnsUpstream&, const DnsUpstream&) = default;
};

// A published port: `bind`:`host` outside leads to `guest` inside. `host` 0: any free port.
struct Publish {
  net::Protocol protocol = net::Protocol::tcp;
  net::IpAddress bind = net::IpAddress::v4({127, 0, 0, 1});
  net::Port host = 0;
  net::Port guest = 0;
  friend bool operator==(const Publish&, const Publish&) = default;
};
std::string publish_text(const Publish& publish);  // "127.0.0.1:8080:80/tcp"

// policy.md section 7. The value of each is in the unit that its name says.
enum class Limit : std::uint8_t {
  max_flows,
  half_open,
  connects_per_second,
  dns_queries_per_second,
  dns_names_per_minute,
  egress_bytes,  // per destination
  egress_bytes_total,
  ingress_bytes,
  egress_bits_per_second,
  ingress_bits_per_second,
  connect_timeout_ms,
  idle_timeout_ms,      // TCP
  udp_idle_timeout_ms,  // UDP
};
inline constexpr std::size_t kLimitCount = static_cast<std::size_t>(Limit::udp_idle_timeout_ms) + 1;
// As policy files and events spell them, in the order of the enum.
inline constexpr std::array<std::string_view, kLimitCount> kLimitNames = {"max_flows",
                                                                          "half_open",
                                                                          "connects_per_second",
                                                                          "dns_queries_per_second",
                                                                          "dns_names_per_minute",
                                                                          "egress_bytes",
                                                                          "egress_bytes_total",
                                                                          "ingress_bytes",
                                                                          "egress_rate",
                                                                          "ingress_rate",
                                                                          "connect_timeout",
                                                                          "idle_timeout",
                                                                          "udp_idle_timeout"};
constexpr std::string_view name_of(Limit limit) {
  return kLimitNames[static_cast<std::size_t>(limit)];
}
// A value as policy files take it: "1024", "200MB", "100Mbit/s", "30s"; "none" where there is no limit.
std::string text_of(Limit limit, std::uint64_t value);

struct Limits {
  static constexpr std::uint64_t kUnlimited = UINT64_MAX;

  std::array<std::uint64_t, kLimitCount> values;

  Limits() { values.fill(kUnlimited); }
  std::uint64_t& operator[](Limit limit) { return values[static_cast<std::size_t>(limit)]; }
  std::uint64_t operator[](Limit limit) const { return values[static_cast<std::size_t>(limit)]; }
  // What a mode has where the policy says nothing.
  static Limits defaults_of(Mode mode);
  // The narrower value of each.
  void narrow(const Limits& other);
  friend bool operator==(const Limits&, const Limits&) = default;
};

class LayerView;

class Image {
 public:
  // `bytes` must outlive the view and stay unchanged.
  static Result<Image> open(Bytes bytes);
  // How images of every version begin; no text does.
  static constexpr std::string_view kFamily = "weirpol";
  // For bytes that were on disk: are they still what was compiled? open() finds what is dangerous, this what is wrong.
  Result<> check_sums() const;

  Bytes bytes() const { return bytes_; }
  // The mode of the innermost layer (run if there is one, else session).
  Mode mode() const;
  // Tells policies apart in a log: 16 hex digits of a 64-bit mixing hash (hash.h) over the image. Not cryptographic:
  // the one who writes the policies of a machine could make two with one hash, and gains nothing.
  std::string_view hash() const;
  // The entry as its author wrote it, for events and messages; "" for kNoEntry and for what is not in the image.
  std::string_view entry_text(RuleRef rule) const;

  const Limits& limits() const;
  std::uint32_t written_limits() const;  // bit i: a policy sets limit i, it is not the default of the mode
  std::span<const DnsUpstream> dns_upstreams() const;
  std::span<const Publish> publishes() const;

  // For the decision functions of this room, lint and explain. From the outside in.
  std::span<const LayerView> layers() const;
  const LayerView* layer(Layer layer) const;  // nullptr if the image has none
  std::span<const net::IpAddress> self_addresses() const;
  std::span<const net::IpAddress> lifted() const;  // not hard any more
  std::span<const net::Cidr> nat64_prefixes() const;

 private:
  // The few things that are decoded once, at open(); copies of the view share them.
  struct Decoded;
  Image(Bytes bytes, std::shared_ptr<const Decoded> decoded) : bytes_(bytes), decoded_(std::move(decoded)) {}
  static Result<std::shared_ptr<const Decoded>> decode(Bytes bytes);

  Bytes bytes_;
  std::shared_ptr<const Decoded> decoded_;
};

}  // namespace weir::policy
