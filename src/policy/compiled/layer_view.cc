#include "policy/compiled/layer_view.h"

namespace weir::policy {

LayerView::LayerView(Bytes image, const format::LayerRecord& record)
    : record_(record),
      text_(as_text(image.subspan(record.text.offset, record.text.count))),
      entries_(image, record.entries),
      keys_(image, record.keys),
      postings_(image, record.postings),
      ranges_(image, record.ranges),
      name_deny_ports_(image, record.name_deny_ports),
      types_(image, record.types),
      lists_(image, record.lists),
      key_slots_(image, record.key_slots),
      listed_(image, record.listed) {}

bool LayerView::name_deny_at(net::Port port) const {
  for (std::uint32_t i = 0; i < name_deny_ports_.size(); ++i) {
    const format::RangeRecord each = name_deny_ports_[i];
    if (each.first > each.last) return true;  // damaged: better one flight too many is held
    if (each.first <= port && port <= each.last) return true;
  }
  return false;
}

bool LayerView::lists_type(std::uint16_t type) const {
  for (std::uint32_t i = 0; i < types_.size(); ++i) {
    if (types_[i] == type) return true;
  }
  return false;
}

std::vector<std::uint16_t> LayerView::listed_types() const {
  std::vector<std::uint16_t> types;
  for (std::uint32_t i = 0; i < types_.size(); ++i) types.push_back(types_[i]);
  return types;
}

std::string_view LayerView::entry_text(std::uint32_t entry) const {
  if (entry >= entries_.size()) return {};
  const format::EntryRecord record = entries_[entry];
  return text_at(record.text_offset, record.text_size);
}

bool LayerView::holds(const Posting& posting, net::Protocol protocol, net::Port port) const {
  if (!posting.protocols.has(protocol)) return false;
  if (posting.range_count == 0) return true;
  if (protocol == net::Protocol::icmp) return false;
  for (std::uint16_t i = 0; i < posting.range_count; ++i) {
    const net::PortRange each = range(posting, i);
    if (each.first > each.last) return posting.action == Action::deny;  // damaged
    if (each.contains(port)) return true;
  }
  return false;
}

net::PortRange LayerView::range(const Posting& posting, std::uint16_t index) const {
  const format::RangeRecord record = ranges_[posting.first_range + index];
  return {record.first, record.last};
}

std::uint32_t LayerView::allowed_below(std::string_view name) const {
  const std::uint32_t found = find_key(suffix(name));
  return found == format::kNone || found == kBrokenKey ? format::kNone : keys_[found].allowed_below;
}

Step LayerView::entry_step(std::uint32_t entry) const {
  const std::uint8_t step = entries_[entry].step;
  const bool known = step >= static_cast<std::uint8_t>(Step::deny) && step <= static_cast<std::uint8_t>(Step::allow);
  return known ? static_cast<Step>(step) : Step::deny;
}

std::optional<std::uint32_t> LayerView::listed_names(std::uint32_t entry) const {
  for (std::uint32_t i = 0; i < lists_.size(); ++i) {
    if (lists_[i].entry == entry) return lists_[i].names;
  }
  return std::nullopt;
}

std::optional<std::string_view> LayerView::listed_as(std::string_view name, std::uint32_t entry) const {
  const Suffixes suffixes(*this, name);
  for (std::size_t i = 0; i < suffixes.size(); ++i) {
    bool found = false;
    const auto note = [&](const Posting& posting) { found = found || posting.entry == entry; };
    for_listed(suffixes[i].hash, i == 0 ? format::kListedExact : format::kListedBelow, note);
    if (found) return suffixes[i].text;
  }
  return std::nullopt;
}

std::uint32_t LayerView::find_key(const Suffix& key) const {
  std::uint32_t found = format::kNone;
  key_slots_.for_each(key.hash, [&](std::uint64_t payload) {
    const auto index = static_cast<std::uint32_t>(payload - 1);
    const format::KeyRecord record = keys_[index];
    if (index >= keys_.size() || !is_whole(record)) {
      found = kBrokenKey;
    } else if (found == format::kNone && key_text(record) == key.text) {
      found = index;
    }
  });
  return found;
}

Posting LayerView::listed_posting(std::uint64_t payload) const {
  const auto list = static_cast<std::uint32_t>(payload >> format::kListShift);
  const std::uint64_t scopes = payload & (format::kListedExact | format::kListedBelow);
  if (list >= lists_.size() || scopes == 0) return kBrokenPosting;
  return {.entry = lists_[list].entry,
          .action = Action::deny,
          .protocols = ProtocolSet::all(),
          .flags = static_cast<std::uint8_t>(scopes),
          .first_range = 0,
          .range_count = 0};
}

std::optional<Posting> LayerView::posting(std::uint32_t index) const {
  const format::PostingRecord record = postings_[index];
  const auto protocols = ProtocolSet::of_bits(record.protocols);
  const bool there = index < postings_.size() && record.entry < entries_.size() &&
                     record.range_count <= ranges_.size() && record.first_range <= ranges_.size() - record.range_count;
  if (!there || protocols.bits() == 0 || protocols.bits() != record.protocols) return std::nullopt;
  return Posting{.entry = record.entry,
                 .action = entry_action(record.entry),
                 .protocols = protocols,
                 .flags = record.flags,
                 .first_range = record.first_range,
                 .range_count = record.range_count};
}

}  // namespace weir::policy
