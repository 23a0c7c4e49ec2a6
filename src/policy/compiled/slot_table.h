// A hash table as one sorted array of 64-bit slots: hash above, payload below. Internal to this room.
//
// A slot stands at its home, which grows with its hash, or as soon behind it as there is room, so the array is in order
// of slots and a search ends at the first free or greater one: one cache line nearly always, and most of what a miss
// costs. Three quarters full: 10.7 bytes for each slot in use. No slot in use is 0.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "policy/compiled/format.h"
#include "policy/compiled/record_span.h"

namespace weir::policy {

// How far a slot may stand behind its home. A search goes no further, whatever the image holds.
inline constexpr std::uint32_t kMaxSlotDistance = 255;

template <unsigned kPayloadBits>
class SlotTable {
 public:
  static constexpr std::uint64_t kPayload = (std::uint64_t{1} << kPayloadBits) - 1;

  static std::uint64_t slot_of(std::uint64_t hash, std::uint64_t payload) { return (hash & ~kPayload) | payload; }

  SlotTable() = default;
  SlotTable(Bytes image, const format::SlotSection& section) : slots_(image, section.slots), homes_(section.homes) {}

  // Begins to load what for_each(hash) will read.
  void prefetch(std::uint64_t hash) const {
    if (homes_ != 0) __builtin_prefetch(slots_.address_of(home_of(hash)));
  }
  // Calls visit(payload) for each slot with this hash.
  template <class Visit>
  void for_each(std::uint64_t hash, Visit visit) const {
    if (homes_ == 0) return;
    const std::uint64_t low = hash & ~kPayload;
    const std::uint32_t home = home_of(hash);
    const std::uint32_t end = std::min(slots_.size() - home, kMaxSlotDistance + 1) + home;
    for (std::uint32_t at = home; at < end; ++at) {
      const std::uint64_t slot = slots_[at];
      if (slot == 0 || slot > (low | kPayload)) return;
      if (slot >= low) visit(slot & kPayload);
    }
  }

  template <class Visit>
  void for_all(Visit visit) const {
    for (std::uint32_t at = 0; at < slots_.size(); ++at) {
      if (slots_[at] != 0) visit(slots_[at]);
    }
  }

  struct Laid {
    std::vector<std::uint64_t> slots;
    std::uint32_t homes = 0;
  };
  // `slots`: in order, each once. nullopt where so many meet in one place that the table would have to be far larger
  // than what is in it: with any other key they would not.
  static std::optional<Laid> lay_out(const std::vector<std::uint64_t>& slots) {
    if (slots.empty()) return Laid{};
    for (std::uint64_t homes = slots.size() + slots.size() / 3 + 1; homes <= kMaxRoom * slots.size() + 1; homes *= 2) {
      Laid laid{.slots = std::vector<std::uint64_t>(homes), .homes = static_cast<std::uint32_t>(homes)};
      if (place(slots, laid)) return laid;
    }
    return std::nullopt;
  }

 private:
  static constexpr std::uint64_t kMaxRoom = 4;  // homes for each slot in use
  static std::uint32_t home_in(std::uint64_t hash, std::uint32_t homes) {
    return static_cast<std::uint32_t>((static_cast<unsigned __int128>(hash & ~kPayload) * homes) >> 64);
  }
  std::uint32_t home_of(std::uint64_t hash) const { return home_in(hash, homes_); }

  static bool place(const std::vector<std::uint64_t>& slots, Laid& laid) {
    std::size_t next = 0;
    for (const std::uint64_t slot : slots) {
      const std::size_t home = home_in(slot, laid.homes);
      const std::size_t at = std::max(home, next);
      if (at - home > kMaxSlotDistance) return false;
      if (at >= laid.slots.size()) laid.slots.resize(at + 1);
      laid.slots[at] = slot;
      next = at + 1;
    }
    return true;
  }

  RecordSpan<std::uint64_t> slots_;
  std::uint32_t homes_ = 0;
};

using KeySlots = SlotTable<format::kKeySlotBits>;
using ListedSlots = SlotTable<format::kListedSlotBits>;

}  // namespace weir::policy
