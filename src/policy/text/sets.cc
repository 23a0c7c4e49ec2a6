#include "policy/text/sets.h"

#include <algorithm>
#include <array>

namespace weir::policy {

namespace {

// security/ip-classes: names under which cloud metadata is found. The addresses are what is enforced; the names make
// the intention visible and spare a query.
constexpr auto kMetadataNames = std::to_array<std::string_view>({
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.com",
    "metadata.azure.internal",
    "metadata.oraclecloud.com",
    "metadata.digitalocean.com",
    "metadata.tencentyun.com",
    "api.metadata.cloud.ibm.com",
    "metadata.platformequinix.com",
    "kubernetes.default",
    "kubernetes.default.svc",
    "*.cluster.local",
});

}  // namespace

const HostSet* find_host_set(std::string_view name) {
  const auto sets = host_sets();
  const auto found = std::ranges::find(sets, name, &HostSet::name);
  return found == sets.end() ? nullptr : &*found;
}

std::string preset_name(const HostSet& set) {
  std::string name(set.name);
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return name + "_HOSTS";
}

std::vector<std::string> cloud_metadata_deny() {
  // All of link-local: providers put new endpoints there faster than lists grow.
  std::vector<std::string> targets = {"169.254.0.0/16", "fe80::/10"};
  for (const AddressBlock& block : address_blocks()) {
    if (block.address_class != AddressClass::metadata) continue;
    targets.push_back(block.cidr.is_single() ? block.cidr.base().text() : block.cidr.text());
  }
  targets.insert(targets.end(), kMetadataNames.begin(), kMetadataNames.end());
  return targets;
}

}  // namespace weir::policy
