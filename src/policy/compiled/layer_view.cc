#include "policy/compiled/layer_view.h"

#include "policy/compiled/hash.h"

namespace weir::policy {

LayerView::LayerView(Bytes image, const format::LayerRecord& record, std::string_view text)
    : record_(record),
      text_(text),
      entries_(image, record.entries),
      keys_(image, record.keys),
      slots_(image, record.slots),
      postings_(image, record.postings),
      ranges_(image, record.ranges),
      name_deny_ports_(image, record.name_deny_ports),
      types_(image, record.types) {}

bool LayerView::name_deny_at(net::Port port) const {
  for (std::uint32_t i = 0; i < name_deny_ports_.size(); ++i) {
    const format::RangeRecord each = name_deny_ports_[i];
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

std::string_view LayerView::entry_text(std::uint32_t entry) const {
  if (entry >= entries_.size()) return {};
  const format::EntryRecord record = entries_[entry];
  return text_.substr(record.text_offset, record.text_size);
}

bool LayerView::holds(const Posting& posting, net::Protocol protocol, net::Port port) const {
  if (!posting.protocols.has(protocol)) return false;
  if (posting.range_count == 0) return true;
  if (protocol == net::Protocol::icmp) return false;
  for (std::uint16_t i = 0; i < posting.range_count; ++i) {
    if (range(posting, i).contains(port)) return true;
  }
  return false;
}

net::PortRange LayerView::range(const Posting& posting, std::uint16_t index) const {
  const format::RangeRecord record = ranges_[posting.first_range + index];
  return {record.first, record.last};
}

std::uint32_t LayerView::allowed_below(std::string_view name) const {
  const std::uint32_t found = find_key(name);
  return found == format::kNone ? format::kNone : keys_[found].allowed_below;
}

std::uint32_t LayerView::find_key(std::string_view key) const {
  if (slots_.size() == 0) return format::kNone;
  const std::uint32_t mask = slots_.size() - 1;
  auto at = static_cast<std::uint32_t>(hash_bytes(as_bytes(key))) & mask;
  for (std::uint32_t probes = 0; probes <= mask; ++probes, at = (at + 1) & mask) {
    const std::uint32_t slot = slots_[at];
    if (slot == 0) return format::kNone;
    const format::KeyRecord record = keys_[slot - 1];
    if (text_.substr(record.text_offset, record.text_size) == key) return slot - 1;
  }
  return format::kNone;
}

Posting LayerView::posting(std::uint32_t index) const {
  const format::PostingRecord record = postings_[index];
  return {.entry = record.entry,
          .action = entry_action(record.entry),
          .protocols = ProtocolSet::of_bits(record.protocols),
          .flags = record.flags,
          .first_range = record.first_range,
          .range_count = record.range_count};
}

}  // namespace weir::policy
