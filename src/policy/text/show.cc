#include "policy/text/show.h"

#include <algorithm>

#include "base/quantity.h"
#include "base/spelling.h"
#include "policy/text/json_text.h"
#include "policy/text/keys.h"
#include "policy/text/target.h"
#include "policy/text/values.h"

namespace weir::policy {

namespace {

std::string_view word_of(Step step) {
  switch (step) {
    case Step::deny:
      return "deny";
    case Step::rules:
      return "rule";
    case Step::allow:
      return "allow";
  }
  return "";
}

std::string default_text(Mode mode) {
  switch (mode) {
    case Mode::none:
    case Mode::inbound:
      return "no way out at all";
    case Mode::allowlist:
      return "everything else is refused";
    case Mode::publicly:
      return "every public address is allowed, nothing private";
    case Mode::semitrusted:
      return "public addresses on TCP 80 and 443 are allowed";
    case Mode::open:
      return "everything else is allowed";
    case Mode::host:
      return "the network of the machine itself: no gateway, no record";
  }
  return "";
}

std::string unfolded(const Entry& entry) {
  if (entry.listed) return ": " + std::to_string(*entry.listed) + (*entry.listed == 1 ? " name" : " names");
  std::string text;
  for (const Target& target : entry.targets) text += (text.empty() ? "" : " ") + canonical_text(target);
  return text == entry.text ? "" : "  = " + text;
}

std::string layer_text(const LayerSource& layer) {
  std::string text = std::string(name_of(layer.layer)) + ": mode " + std::string(name_of(layer.mode)) + "\n";
  if (layer.name_need == NameNeed::required) text += "  require_name\n";
  for (const Entry& entry : layer.entries) {
    text += "  " + std::string(word_of(entry.step));
    if (entry.step == Step::rules) text += entry.action == Action::allow ? " allow" : " deny";
    text += " " + entry.text + unfolded(entry);
    if (entry.ech == Ech::accepted) text += "  (ech)";
    text += "\n";
  }
  for (const std::uint16_t type : layer.dns_types) text += "  asks " + dns_type_text(type) + " records\n";
  return text + "  otherwise: " + default_text(layer.mode) + "\n";
}

std::string floor_text(const Compiled& compiled) {
  std::string text =
      "built-in floor: never metadata services, weir's own addresses and listeners, other sandboxes, "
      "multicast, broadcast, reserved ranges\n";
  for (const net::IpAddress& each : compiled.source.lifted) text += "  but " + each.text() + " (insisted)\n";
  if (compiled.mode != Mode::open) {
    text += "  only where named on purpose: the machine itself, loopback, link-local, private and local networks\n";
  }
  for (const net::IpAddress& each : compiled.source.self_addresses) text += "  " + each.text() + " is this machine\n";
  for (const net::Cidr& each : compiled.source.nat64_prefixes) text += "  " + each.text() + " is a NAT64 translator\n";
  return text;
}

std::string entry_json(const Entry& entry) {
  JsonText targets = JsonText::array();
  for (const Target& target : entry.targets) targets.push(canonical_text(target));
  JsonText object = JsonText::object();
  object.add("step", word_of(entry.step))
      .add("action", entry.action == Action::allow ? "allow" : "deny")
      .add("text", entry.text)
      .add_raw("targets", targets.text());
  if (entry.ech == Ech::accepted) object.add_raw("ech", "true");
  if (entry.listed) object.add("names", std::uint64_t{*entry.listed});
  return object.text();
}

std::string layer_json(const LayerSource& layer) {
  JsonText entries = JsonText::array();
  for (const Entry& entry : layer.entries) entries.push_raw(entry_json(entry));
  JsonText types = JsonText::array();
  for (const std::uint16_t type : layer.dns_types) types.push(dns_type_text(type));
  JsonText object = JsonText::object();
  object.add("layer", name_of(layer.layer))
      .add("mode", name_of(layer.mode))
      .add_raw("require_name", layer.name_need == NameNeed::required ? "true" : "false")
      .add_raw("entries", entries.text())
      .add_raw("dns_types", types.text());
  return object.text();
}

template <class List, class ToText>
std::string list_json(const List& list, ToText to_text) {
  JsonText array = JsonText::array();
  for (const auto& each : list) array.push(to_text(each));
  return array.text();
}

}  // namespace

std::string show_text(const Compiled& compiled) {
  std::string text = "policy " + compiled.hash + "\n" + floor_text(compiled);
  for (const LayerSource& layer : compiled.source.layers) text += layer_text(layer);
  for (const DnsUpstream& each : compiled.source.dns_upstreams) text += "name server: " + upstream_text(each) + "\n";
  for (const Publish& each : compiled.source.publishes) text += "published: " + publish_text(each) + "\n";
  for (std::size_t i = 0; i < kLimitCount; ++i) {
    const auto limit = static_cast<Limit>(i);
    const std::uint64_t value = compiled.source.limits[limit];
    if (value == Limits::kUnlimited) continue;
    text += "limit: " + std::string(name_of(limit)) + " " + text_of(limit, value) + "\n";
  }
  for (const std::string& each : compiled.notices) text += "note: " + each + "\n";
  for (const std::string& each : compiled.warnings) text += "warning: " + each + "\n";
  return text;
}

std::string show_json(const Compiled& compiled) {
  JsonText layers = JsonText::array();
  for (const LayerSource& layer : compiled.source.layers) layers.push_raw(layer_json(layer));
  JsonText limits = JsonText::object();
  for (std::size_t i = 0; i < kLimitCount; ++i) {
    const auto limit = static_cast<Limit>(i);
    const std::uint64_t value = compiled.source.limits[limit];
    if (value != Limits::kUnlimited) limits.add(name_of(limit), value);
  }
  const auto text_of = [](const auto& each) { return each.text(); };
  const auto same = [](const std::string& each) { return each; };
  JsonText object = JsonText::object();
  object.add("hash", compiled.hash)
      .add("mode", name_of(compiled.mode))
      .add_raw("layers", layers.text())
      .add_raw("lifted", list_json(compiled.source.lifted, text_of))
      .add_raw("self_addresses", list_json(compiled.source.self_addresses, text_of))
      .add_raw("nat64_prefixes", list_json(compiled.source.nat64_prefixes, text_of))
      .add_raw("dns_upstream", list_json(compiled.source.dns_upstreams, upstream_text))
      .add_raw("publish", list_json(compiled.source.publishes, publish_text))
      .add_raw("limits", limits.text())
      .add_raw("notices", list_json(compiled.notices, same))
      .add_raw("warnings", list_json(compiled.warnings, same));
  return object.text();
}

std::string sets_text() {
  std::size_t width = 0;
  for (const HostSet& set : host_sets()) width = std::max(width, set.name.size() + 1);
  std::string text;
  for (const HostSet& set : host_sets()) {
    std::string word = "@" + std::string(set.name);
    word.resize(width, ' ');
    text += word + "  " + std::string(set.description);
    if (set.uploads == Uploads::yes) text += "  [uploads]";
    text += "\n";
  }
  return text;
}

std::string set_text(const HostSet& set) {
  std::string text = "@" + std::string(set.name) + ": " + std::string(set.description) + "\n";
  text += set.uploads == Uploads::yes ? "anyone with an account can receive data here\n" : "";
  for (const std::string_view host : set.hosts) text += "  " + std::string(host) + "\n";
  return text;
}

std::string set_json(const HostSet& set) {
  JsonText hosts = JsonText::array();
  for (const std::string_view host : set.hosts) hosts.push(host);
  JsonText object = JsonText::object();
  object.add("name", set.name)
      .add("description", set.description)
      .add_raw("uploads", set.uploads == Uploads::yes ? "true" : "false")
      .add_raw("hosts", hosts.text());
  return object.text();
}

std::string sets_json() {
  JsonText array = JsonText::array();
  for (const HostSet& set : host_sets()) array.push_raw(set_json(set));
  return array.text();
}

Result<const HostSet*> require_host_set(std::string_view name) {
  if (name.starts_with('@')) name.remove_prefix(1);
  if (const HostSet* const set = find_host_set(name)) return set;
  std::vector<std::string_view> names;
  for (const HostSet& set : host_sets()) names.push_back(set.name);
  const std::string_view near = nearest_spelling(name, names);
  return std::unexpected(
      Error("there is no set '@" + std::string(name) + "'")
          .with_remedy(near.empty() ? "`weir policy sets` lists them" : "write @" + std::string(near)));
}

std::string presets_json() {
  JsonText object = JsonText::object();
  for (const HostSet& set : host_sets()) {
    object.add_raw(preset_name(set), list_json(set.hosts, [](std::string_view host) { return host; }));
  }
  object.add_raw("CLOUD_METADATA_DENY", list_json(cloud_metadata_deny(), [](const std::string& each) { return each; }));
  return object.text();
}

}  // namespace weir::policy
