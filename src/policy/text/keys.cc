#include "policy/text/keys.h"

#include <array>

namespace weir::policy {

namespace {

using enum KeyType;

constexpr KeySpec limit(Limit which, KeyType type, std::string_view example, std::string_view doc) {
  return {.id = KeyId::limit,
          .table = "limits",
          .name = name_of(which),
          .type = type,
          .place = KeyPlace::policy,
          .example = example,
          .doc = doc,
          .limit = which};
}

constexpr auto kKeys = std::to_array<KeySpec>({
    {KeyId::version, "", "version", version, KeyPlace::both, "1",
     "The version of this format. Required; only 1 exists."},
    {KeyId::mode, "", "mode", mode, KeyPlace::both, "\"allowlist\"",
     "The network mode. Without it a file with `allow` means `allowlist`, and one without means `none`. `-n` replaces "
     "it "
     "and says so. In the operator's file the default is `open`, or `allowlist` where it has `allow`."},
    {KeyId::allow, "", "allow", targets, KeyPlace::both, "[\"@pypi\", \"api.example.com:443\", \"10.1.2.0/24:5432\"]",
     "What may be reached. An empty list allows nothing. Addresses that are not public are opened only by an exact "
     "address, by a CIDR wholly inside one private range, or by their class."},
    {KeyId::deny, "", "deny", targets, KeyPlace::both, "[\"*.tracking.example\"]",
     "What may not be reached, whatever else says so. A name without a protocol is denied for every protocol."},
    {KeyId::deny_lists, "", "deny_lists", lists, KeyPlace::policy, "[\"ads.txt\", \"rpz:malware.zone\"]",
     "Files of names to deny besides `deny`, by the hundred thousand; see below. Paths are relative to the policy "
     "file. A "
     "line that is no denial is an error, unless `--skip-invalid`."},
    {KeyId::require_name, "", "require_name", boolean, KeyPlace::both, "true",
     "Refuse every connection to an address that no name led to."},
    {KeyId::rules, "", "rules", tables, KeyPlace::both, "",
     "Asked after `deny` and before `allow`, in their order; the first that matches decides."},
    {KeyId::rule_action, "rules", "action", action, KeyPlace::both, "\"deny\"", "What the rule does. Required."},
    {KeyId::rule_to, "rules", "to", targets, KeyPlace::both, "[\"uploads.example.com\"]",
     "The targets of the rule. Required."},
    {KeyId::rule_ech, "rules", "ech", boolean, KeyPlace::both, "true",
     "Accept a TLS handshake that encrypts its real name (ECH): only the outer name is judged then. Only for rules "
     "that "
     "allow."},
    {KeyId::dns, "", "dns", table, KeyPlace::policy, "", "How names are resolved."},
    {KeyId::dns_upstream, "dns", "upstream", name_servers, KeyPlace::policy, "[\"9.9.9.9\"]",
     "The name servers to ask, in order. Default: those of the machine's resolv.conf."},
    {KeyId::dns_types, "dns", "types", dns_types, KeyPlace::policy, "[\"TXT\", \"MX\"]",
     "Record types that are asked besides A and AAAA in `allowlist` and `semitrusted`. `public` and `open` ask all."},
    {KeyId::limits, "", "limits", table, KeyPlace::policy, "",
     "Bounds of what a run may do. `open` has none but those written here. The defaults are below."},
    limit(Limit::max_flows, count, "1024", "Connections and flows at a time."),
    limit(Limit::half_open, count, "64", "TCP connections that are being made."),
    limit(Limit::connects_per_second, count, "200", "New connections and flows, with bursts of twice that."),
    limit(Limit::dns_queries_per_second, count, "100", "Questions to the resolver, with bursts of twice that."),
    limit(Limit::dns_names_per_minute, count, "600",
          "Different names asked upstream, in bursts of that; a tenth of it for names that only a wildcard allows."),
    limit(Limit::egress_bytes, size, "\"200MB\"", "Sent to one address, by all connections and flows together."),
    limit(Limit::egress_bytes_total, size, "\"1G\"", "Sent altogether."),
    limit(Limit::ingress_bytes, size, "\"10G\"", "Received altogether."),
    limit(Limit::egress_bits_per_second, rate, "\"100Mbit/s\"", "Sending speed, of everything together."),
    limit(Limit::ingress_bits_per_second, rate, "\"100Mbit/s\"", "Receiving speed, of everything together."),
    limit(Limit::connect_timeout_ms, duration, "\"30s\"", "For making a connection."),
    limit(Limit::idle_timeout_ms, duration, "\"1h\"", "TCP without a byte in either direction."),
    limit(Limit::udp_idle_timeout_ms, duration, "\"60s\"", "UDP and ICMP echo without a datagram in either direction."),
    {KeyId::publish, "", "publish", table, KeyPlace::policy, "",
     "Ports of the sandbox that are reachable from outside."},
    {KeyId::publish_tcp, "publish", "tcp", publishes, KeyPlace::policy, "[\"8080:80\"]", "TCP ports."},
    {KeyId::publish_udp, "publish", "udp", publishes, KeyPlace::policy, "[\"127.0.0.1:5353:53\"]", "UDP ports."},
    {KeyId::self_addresses, "", "self_addresses", addresses, KeyPlace::floor, "[\"203.0.113.7\"]",
     "Public addresses that lead back to this machine (1:1 NAT); they count as `@host`."},
    {KeyId::nat64_prefixes, "", "nat64_prefixes", prefixes, KeyPlace::floor, "[\"64:ff9b::/96\"]",
     "NAT64 translators of this network. An address below one is judged twice: itself and the IPv4 address inside."},
});

}  // namespace

std::span<const KeySpec> policy_keys() {
  return kKeys;
}

std::string_view describe(KeyType type) {
  switch (type) {
    case version:
      return "the number 1";
    case mode:
      return "a mode (text)";
    case boolean:
      return "true or false";
    case targets:
      return "a list of targets (text)";
    case lists:
      return "a list of files, `FILE` or `FORMAT:FILE`";
    case action:
      return "\"allow\" or \"deny\"";
    case table:
      return "a table";
    case tables:
      return "a list of tables";
    case name_servers:
      return "a list of addresses, `ADDRESS`, `ADDRESS:PORT` or `tls://ADDRESS`";
    case dns_types:
      return "a list of record types, `MX` or `TYPE64`";
    case count:
      return "a number of at least 1";
    case size:
      return "a size, `\"200MB\"`, or a number of bytes";
    case rate:
      return "a rate, `\"100Mbit/s\"`";
    case duration:
      return "a duration, `\"30s\"`, or a number of seconds";
    case publishes:
      return "a list of `[BIND:]HOST:GUEST`";
    case addresses:
      return "a list of addresses";
    case prefixes:
      return "a list of IPv6 prefixes";
  }
  return "";
}

}  // namespace weir::policy
