// Named sets of destinations: data/sets/*.toml, built into the binary.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/compiled/address_class.h"

namespace weir::policy {

// Can anyone with an account receive data at a host of the set? Then the set is also a way out for data.
enum class Uploads : std::uint8_t { no, yes };

struct HostSet {
  std::string_view name;  // "pypi", written "@pypi"
  std::string_view description;
  Uploads uploads;
  std::span<const std::string_view> hosts;  // targets of names, as a policy writes them
};

// In the order of their names.
std::span<const HostSet> host_sets();
// By the name without "@"; nullptr if there is none.
const HostSet* find_host_set(std::string_view name);

// "PYPI_HOSTS" for "pypi": what the SDKs export.
std::string preset_name(const HostSet& set);
// CLOUD_METADATA_DENY: every metadata endpoint of the address tables, and the names that lead to them; targets.
std::vector<std::string> cloud_metadata_deny();

}  // namespace weir::policy
