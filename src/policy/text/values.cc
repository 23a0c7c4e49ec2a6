#include "policy/text/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include "base/spelling.h"

namespace weir::policy {

namespace {

constexpr net::Port kDnsPort = 53;
constexpr net::Port kDnsOverTlsPort = 853;  // RFC 7858

struct TypeName {
  std::string_view name;
  std::uint16_t type;
};

// The types that somebody may want to list; all others as TYPEn.
constexpr auto kTypes = std::to_array<TypeName>({
    {"A", 1},     {"NS", 2},      {"CNAME", 5},  {"SOA", 6},    {"PTR", 12},   {"MX", 15},    {"TXT", 16},
    {"AAAA", 28}, {"SRV", 33},    {"NAPTR", 35}, {"DNAME", 39}, {"DS", 43},    {"SSHFP", 44}, {"RRSIG", 46},
    {"NSEC", 47}, {"DNSKEY", 48}, {"TLSA", 52},  {"SVCB", 64},  {"HTTPS", 65}, {"SPF", 99},   {"CAA", 257},
});

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

// RFC 6895 3.1: OPT and 128-255 are no data types.
bool is_data_type(std::uint64_t type) {
  constexpr std::uint64_t kOpt = 41;
  return type >= 1 && type <= 65279 && type != kOpt && (type < 128 || type > 255);
}

Result<net::IpAddress> parse_server(std::string_view text) {
  auto address = net::IpAddress::parse(text);
  if (address) return address;
  return std::unexpected(std::move(address).error().with_remedy("write the address of the name server: 9.9.9.9"));
}

// HOST, HOST:PORT or [HOST]:PORT; an IPv6 address without brackets is a host.
struct HostPort {
  std::string_view host;
  std::optional<std::string_view> port;
};
Result<HostPort> split_host_port(std::string_view text) {
  HostPort split{.host = text, .port = {}};
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return fail("'" + std::string(text) + "': the bracket is not closed");
    split.host = text.substr(1, close - 1);
    const std::string_view after = text.substr(close + 1);
    if (!after.empty() && after.front() != ':') return fail("'" + std::string(text) + "' is no ADDRESS:PORT");
    if (!after.empty()) split.port = after.substr(1);
  } else if (std::ranges::count(text, ':') == 1) {
    split.host = text.substr(0, text.find(':'));
    split.port = text.substr(text.find(':') + 1);
  }
  return split;
}

// How the key and the flag of a kind are written, and what a URL of it looks like.
struct EgressSpelling {
  std::string_view scheme;
  std::string_view example;
  std::string_view auth_key;
};
const EgressSpelling& spelling_of(EgressProxy::Kind kind) {
  static constexpr EgressSpelling kHttp = {"http://", "http://127.0.0.1:8080", "upstream_proxy_auth"};
  static constexpr EgressSpelling kSocks = {"socks5h://", "socks5h://127.0.0.1:1080", "upstream_socks_auth"};
  return kind == EgressProxy::Kind::http ? kHttp : kSocks;
}

std::unexpected<Error> bad_egress(std::string what, std::string remedy) {
  return std::unexpected(Error(std::move(what)).with_remedy(std::move(remedy)));
}

Result<> check_scheme(std::string_view text, EgressProxy::Kind kind) {
  const EgressSpelling& spelling = spelling_of(kind);
  const std::string example = "write " + std::string(spelling.example);
  if (text.starts_with(spelling.scheme)) return {};
  if (text.starts_with("https://"))
    return bad_egress("TLS to an upstream proxy is not available in this version", "give its http:// address");
  if (text.starts_with("socks5://"))
    return bad_egress("socks5:// means names that are resolved before they reach the proxy, and here none are",
                      "write socks5h://");
  return bad_egress("an upstream proxy of this kind begins with " + std::string(spelling.scheme), example);
}

constexpr std::string_view kInFile = "file:";
constexpr std::string_view kInVariable = "env:";

bool is_variable_name(std::string_view name) {
  const auto is_word = [](char c) {
    return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && (name.front() < '0' || name.front() > '9') && std::ranges::all_of(name, is_word);
}

}  // namespace

Result<net::Endpoint> parse_egress_url(std::string_view text, EgressProxy::Kind kind) {
  const EgressSpelling& spelling = spelling_of(kind);
  const std::string example = "write " + std::string(spelling.example);
  if (text.contains('@')) {
    return bad_egress("the URL of an upstream proxy holds credentials, and policies and command lines are recorded",
                      "leave them out of it, and write " + std::string(spelling.auth_key) +
                          " = \"file:/PATH\" or \"env:NAME\" beside it (a flag likewise)");
  }
  WEIR_CHECK_OK(check_scheme(text, kind));
  text.remove_prefix(spelling.scheme.size());
  if (text.ends_with('/')) text.remove_suffix(1);
  const auto split = split_host_port(text);
  if (!split || !split->port) return bad_egress("the URL of an upstream proxy has no port", example);
  const auto port = net::parse_port(*split->port);
  const auto address = net::IpAddress::parse(split->host == "localhost" ? "127.0.0.1" : split->host);
  if (!port) return bad_egress("the URL of an upstream proxy has no port that is one", example);
  if (!address) {
    return bad_egress("an upstream proxy is given by its address: no name is asked where it is used", example);
  }
  return net::Endpoint{.address = *address, .port = *port};
}

Result<> parse_credentials_place(std::string_view text, EgressProxy& proxy) {
  using In = EgressProxy::CredentialsIn;
  constexpr std::size_t kLongest = 4096;
  if (text.starts_with(kInFile)) {
    proxy.credentials = text.substr(kInFile.size());
    proxy.credentials_in = In::file;
    if (!proxy.credentials.starts_with('/') || proxy.credentials.size() >= kLongest || proxy.credentials.contains('\0'))
      return bad_egress("the file of an upstream proxy's credentials is given by its whole path", "write file:/PATH");
    return {};
  }
  if (text.starts_with(kInVariable) && text.size() < kLongest && is_variable_name(text.substr(kInVariable.size()))) {
    proxy.credentials = text.substr(kInVariable.size());
    proxy.credentials_in = In::variable;
    return {};
  }
  return bad_egress("an upstream proxy's credentials are not written out: they come from a file or a variable",
                    "write file:/PATH or env:NAME; it holds user:password");
}

std::string egress_text(const EgressProxy& proxy) {
  std::string text = std::string(spelling_of(proxy.kind).scheme) + proxy.endpoint.text();
  using In = EgressProxy::CredentialsIn;
  if (proxy.credentials_in == In::file) text += ", credentials from file:" + proxy.credentials;
  if (proxy.credentials_in == In::variable) text += ", credentials from env:" + proxy.credentials;
  return text;
}

Result<DnsUpstream> parse_upstream(std::string_view text) {
  DnsUpstream upstream;
  upstream.endpoint.port = kDnsPort;
  if (text.starts_with("tls://")) {
    upstream.transport = DnsUpstream::Transport::tls;
    upstream.endpoint.port = kDnsOverTlsPort;
    text.remove_prefix(std::string_view("tls://").size());
  }
  WEIR_TRY(const HostPort split, split_host_port(text));
  WEIR_TRY(upstream.endpoint.address, parse_server(split.host));
  if (split.port) {
    WEIR_TRY(upstream.endpoint.port, net::parse_port(*split.port));
  }
  return upstream;
}

std::string upstream_text(const DnsUpstream& upstream) {
  return (upstream.transport == DnsUpstream::Transport::tls ? "tls://" : "") + upstream.endpoint.text();
}

Result<std::uint16_t> parse_dns_type(std::string_view text) {
  const std::string word = upper(text);
  const auto* const known = std::ranges::find(kTypes, word, &TypeName::name);
  if (known != kTypes.end()) return known->type;
  if (word.starts_with("TYPE")) {
    const auto number = parse_number(std::string_view(word).substr(4));
    if (number && is_data_type(*number)) return static_cast<std::uint16_t>(*number);
  }
  std::array<std::string_view, kTypes.size()> words;
  std::ranges::transform(kTypes, words.begin(), &TypeName::name);
  const std::string_view near = nearest_spelling(word, words);
  return std::unexpected(
      Error("'" + std::string(text) + "' is no record type that can be listed")
          .with_remedy(near.empty() ? "write a type such as TXT, or TYPE64" : "write " + std::string(near)));
}

std::string dns_type_text(std::uint16_t type) {
  const auto* const known = std::ranges::find(kTypes, type, &TypeName::type);
  return known != kTypes.end() ? std::string(known->name) : "TYPE" + std::to_string(type);
}

Result<std::uint64_t> parse_rate_bits(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::uint64_t bits;
  };
  constexpr auto kUnits =
      std::to_array<Unit>({{"kbit", 1'000}, {"Mbit", 1'000'000}, {"Gbit", 1'000'000'000}, {"bit", 1}});
  std::string_view rest = text;
  if (rest.ends_with("/s")) rest.remove_suffix(2);
  for (const Unit& unit : kUnits) {
    if (!rest.ends_with(unit.name)) continue;
    const auto number = parse_number(rest.substr(0, rest.size() - unit.name.size()));
    if (!number || *number == 0 || *number > UINT64_MAX / 2 / unit.bits) break;
    return *number * unit.bits;
  }
  return std::unexpected(Error("'" + std::string(text) + "' is no rate").with_remedy("write a rate such as 100Mbit/s"));
}

Result<Publish> parse_publish(std::string_view text, net::Protocol protocol) {
  Publish publish{.protocol = protocol};
  const auto malformed = [&text] {
    return std::unexpected(
        Error("'" + std::string(text) + "' is no published port").with_remedy("write HOST:GUEST, as in 8080:80"));
  };
  const std::size_t last = text.rfind(':');
  if (last == std::string_view::npos) return malformed();
  WEIR_TRY(publish.guest, net::parse_port(text.substr(last + 1)));
  std::string_view host = text.substr(0, last);
  if (const std::size_t colon = host.rfind(':'); colon != std::string_view::npos) {
    std::string_view bind = host.substr(0, colon);
    host = host.substr(colon + 1);
    const bool brackets = bind.starts_with('[');
    if (brackets != bind.ends_with(']') || brackets != (bind.find(':') != std::string_view::npos)) return malformed();
    if (brackets) bind = bind.substr(1, bind.size() - 2);
    WEIR_TRY(publish.bind, net::IpAddress::parse(bind));
  }
  if (host == "0") return publish;
  WEIR_TRY(publish.host, net::parse_port(host));
  return publish;
}

Result<Publish> parse_publish_flag(std::string_view text) {
  const std::size_t slash = text.rfind('/');
  const std::string_view word = slash == std::string_view::npos ? "tcp" : text.substr(slash + 1);
  if (word == "tcp") return parse_publish(text.substr(0, slash), net::Protocol::tcp);
  if (word == "udp") return parse_publish(text.substr(0, slash), net::Protocol::udp);
  return std::unexpected(Error("'" + std::string(word) + "' is no protocol whose ports can be published")
                             .with_remedy("write /tcp or /udp, as in 5353:53/udp"));
}

Result<net::Cidr> parse_nat64_prefix(std::string_view text) {
  WEIR_TRY(const net::Cidr prefix, net::Cidr::parse(text));
  constexpr std::array<unsigned, 6> kLengths = {32, 40, 48, 56, 64, 96};
  if (prefix.is_v4() || std::ranges::find(kLengths, prefix.length()) == kLengths.end()) {
    return std::unexpected(Error("'" + std::string(text) + "' is no NAT64 prefix")
                               .with_remedy("write an IPv6 prefix of length 32, 40, 48, 56, 64 or 96"));
  }
  return prefix;
}

}  // namespace weir::policy
