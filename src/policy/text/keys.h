// The one table of everything a policy file may contain. Parser, JSON Schema and reference page are made from it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "policy/text/policy_file.h"

namespace weir::policy {

enum class KeyId : std::uint8_t {
  version,
  mode,
  allow,
  deny,
  deny_lists,
  require_name,
  rules,
  rule_action,
  rule_to,
  rule_ech,
  upstream_proxy,  // the URL or, by its type, where the credentials are
  upstream_socks,
  dns,
  dns_upstream,
  dns_types,
  limits,
  limit,  // which one: KeySpec::limit
  publish,
  publish_tcp,
  publish_udp,
  after,
  self_addresses,
  nat64_prefixes,
};

enum class KeyType : std::uint8_t {
  version,
  mode,
  boolean,
  targets,
  lists,
  action,
  table,
  tables,
  name_servers,
  dns_types,
  count,
  size,      // bytes
  rate,      // bits per second
  duration,  // milliseconds
  publishes,
  addresses,
  prefixes,
  http_proxy,
  socks_proxy,
  credentials,
};

enum class KeyPlace : std::uint8_t { policy, floor, both };

struct KeySpec {
  KeyId id;
  std::string_view table;  // "", "rules", "dns", "limits", "publish", "after"
  std::string_view name;
  KeyType type;
  KeyPlace place;
  std::string_view example;  // as TOML
  std::string_view doc;
  Limit limit = Limit::max_flows;  // only for KeyId::limit

  bool is_in(FileKind kind) const {
    return place == KeyPlace::both || (place == KeyPlace::floor) == (kind == FileKind::floor);
  }
};

std::span<const KeySpec> policy_keys();
// What a value of the type looks like, for people.
std::string_view describe(KeyType type);

// docs/policy.schema.json
std::string policy_schema_json();
// docs/policy.md
std::string policy_reference_markdown();

}  // namespace weir::policy
