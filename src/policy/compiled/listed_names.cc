// The names of imported lists.
#include <algorithm>

#include "policy/compiled/hash.h"
#include "policy/compiled/slot_table.h"
#include "policy/compiled/source.h"

namespace weir::policy {

namespace {

constexpr std::uint64_t kScopes = format::kListedExact | format::kListedBelow;

std::uint64_t hash_in(std::uint64_t slot) {
  return slot & ~ListedSlots::kPayload;
}

}  // namespace

void ListedNames::add(std::string_view name, NameScope scope) {
  std::uint64_t scopes = scope == NameScope::below ? 0 : format::kListedExact;
  if (scope != NameScope::exact) scopes |= format::kListedBelow;
  const std::uint64_t payload = (lists_ << format::kListShift) | scopes;
  slots_.push_back(ListedSlots::slot_of(hash_bytes(as_bytes(name), key_), payload));
}

std::uint32_t ListedNames::close_list() {
  const auto first = slots_.begin() + static_cast<std::ptrdiff_t>(list_start_);
  std::sort(first, slots_.end());
  auto kept = first;
  for (auto each = first; each != slots_.end(); ++each) {
    if (kept != first && hash_in(*(kept - 1)) == hash_in(*each)) {
      *(kept - 1) |= *each & kScopes;
    } else {
      *kept++ = *each;
    }
  }
  slots_.erase(kept, slots_.end());
  const std::size_t names = slots_.size() - list_start_;
  list_start_ = slots_.size();
  ++lists_;
  return static_cast<std::uint32_t>(names);
}

// Of several lists with one name the first decides, as of several entries.
std::vector<std::uint64_t> ListedNames::sorted_slots() const {
  std::vector<std::uint64_t> sorted = slots_;
  if (lists_ < 2) return sorted;
  std::ranges::sort(sorted);
  std::vector<std::uint64_t> merged;
  merged.reserve(sorted.size());
  std::uint64_t said = 0;  // scopes of this name
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i > 0 && hash_in(sorted[i]) != hash_in(sorted[i - 1])) said = 0;
    const std::uint64_t more = sorted[i] & kScopes & ~said;
    if (more != 0) merged.push_back((sorted[i] & ~kScopes) | more);
    said |= more;
  }
  return merged;
}

bool ListedNames::restore(std::vector<std::uint64_t> slots, std::size_t lists) {
  std::uint64_t before = 0;
  for (const std::uint64_t slot : slots) {
    const std::uint64_t list = (slot & ListedSlots::kPayload) >> format::kListShift;
    if (slot <= before || (slot & kScopes) == 0 || list >= lists) return false;
    before = slot;
  }
  slots_ = std::move(slots);
  list_start_ = slots_.size();
  lists_ = lists;
  return true;
}

}  // namespace weir::policy
