// One layer of an image: look-ups by name, address and class. Internal to this room, lint and explain.
//
// A view exists only over a section that Image::open() has validated; look-ups do not check again.
#pragma once

#include <cstring>
#include <string_view>
#include <type_traits>

#include "policy/compiled/address_class.h"
#include "policy/compiled/format.h"
#include "policy/compiled/source.h"

namespace weir::policy {

// A validated array of records; reads by copy, so alignment does not matter.
template <class Record>
class RecordSpan {
  static_assert(std::is_trivially_copyable_v<Record>);

 public:
  RecordSpan() = default;
  RecordSpan(Bytes image, format::Section section) : start_(image.data() + section.offset), count_(section.count) {}
  std::uint32_t size() const { return count_; }
  Record operator[](std::uint32_t index) const {
    Record record;
    std::memcpy(&record, start_ + static_cast<std::size_t>(index) * sizeof(Record), sizeof(Record));
    return record;
  }

 private:
  const std::uint8_t* start_ = nullptr;
  std::uint32_t count_ = 0;
};

// One use of a key by an entry.
struct Posting {
  std::uint32_t entry = 0;
  Action action = Action::deny;
  ProtocolSet protocols;
  std::uint8_t flags = 0;  // format::PostingFlag
  std::uint32_t first_range = 0;
  std::uint16_t range_count = 0;
};

class LayerView {
 public:
  LayerView(Bytes image, const format::LayerRecord& record, std::string_view text);

  Layer layer() const { return static_cast<Layer>(record_.layer); }
  Mode mode() const { return static_cast<Mode>(record_.mode); }
  bool name_required() const { return record_.name_required != 0; }
  bool names_in_deny_or_rules() const { return record_.names_in_deny_or_rules != 0; }
  // The first allow entry with a CIDR or class; format::kNone if there is none.
  std::uint32_t address_allow() const { return record_.address_allow; }
  // Does some denying entry with a name hold at this TCP port?
  bool name_deny_at(net::Port port) const;
  bool lists_type(std::uint16_t type) const;

  std::uint32_t entry_count() const { return entries_.size(); }
  std::string_view entry_text(std::uint32_t entry) const;
  Action entry_action(std::uint32_t entry) const { return static_cast<Action>(entries_[entry].action); }
  Step entry_step(std::uint32_t entry) const { return static_cast<Step>(entries_[entry].step); }
  bool entry_accepts_ech(std::uint32_t entry) const { return entries_[entry].ech != 0; }

  // Does the posting hold for this protocol and port? ICMP has no ports: only postings without ports hold for it.
  bool holds(const Posting& posting, net::Protocol protocol, net::Port port) const;
  net::PortRange range(const Posting& posting, std::uint16_t index) const;

  // Calls visit(const Posting&) for each posting that matches the name: exact ones of the name itself, below ones of
  // every ancestor.
  template <class Visit>
  void for_name(std::string_view name, Visit visit) const {
    for_key(name, format::kExact, visit);
    for_ancestors(name, visit);
  }
  // Only the postings that name exactly this.
  template <class Visit>
  void for_exact_name(std::string_view name, Visit visit) const {
    for_key(name, format::kExact, visit);
  }
  // Only the `below` postings of the name itself and of its ancestors: what holds for everything below it.
  template <class Visit>
  void for_all_below(std::string_view name, Visit visit) const {
    for_key(name, format::kBelow, visit);
    for_ancestors(name, visit);
  }
  // Every posting of a CIDR that contains the address. visit(const Posting&, const net::Cidr&).
  template <class Visit>
  void for_address(const net::IpAddress& address, Visit visit) const;
  template <class Visit>
  void for_class(AddressClass address_class, Visit visit) const {
    const std::array<char, 2> key = {format::kTagClass, static_cast<char>(address_class)};
    for_key(std::string_view(key.data(), key.size()), 0, visit);
  }

  // The first allow entry with a name strictly below this one; format::kNone if there is none.
  std::uint32_t allowed_below(std::string_view name) const;

 private:
  std::uint32_t find_key(std::string_view key) const;  // format::kNone if absent
  Posting posting(std::uint32_t index) const;

  template <class Visit>
  void for_key(std::string_view key, std::uint8_t wanted_flags, Visit& visit) const {
    const std::uint32_t found = find_key(key);
    if (found == format::kNone) return;
    const format::KeyRecord record = keys_[found];
    for (std::uint32_t i = 0; i < record.posting_count; ++i) {
      const Posting each = posting(record.first_posting + i);
      if ((each.flags & wanted_flags) == wanted_flags) visit(each);
    }
  }
  template <class Visit>
  void for_ancestors(std::string_view name, Visit& visit) const {
    while (!name.empty()) {
      const std::size_t dot = name.find('.');
      name = dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
      for_key(name, format::kBelow, visit);
    }
  }

  format::LayerRecord record_;
  std::string_view text_;
  RecordSpan<format::EntryRecord> entries_;
  RecordSpan<format::KeyRecord> keys_;
  RecordSpan<std::uint32_t> slots_;
  RecordSpan<format::PostingRecord> postings_;
  RecordSpan<format::RangeRecord> ranges_;
  RecordSpan<format::RangeRecord> name_deny_ports_;
  RecordSpan<std::uint16_t> types_;
};

// The key of a CIDR, 18 bytes.
inline std::array<char, 18> cidr_key(const net::Cidr& cidr) {
  std::array<char, 18> key{};
  key[0] = cidr.is_v4() ? format::kTagV4 : format::kTagV6;
  key[1] = static_cast<char>(cidr.length());
  std::memcpy(key.data() + 2, cidr.base().bytes().data(), 16);
  return key;
}

template <class Visit>
void LayerView::for_address(const net::IpAddress& address, Visit visit) const {
  const auto& lengths = address.is_v4() ? record_.lengths4 : record_.lengths6;
  for (unsigned word = 0; word < lengths.size(); ++word) {
    for (std::uint64_t bits = lengths[word]; bits != 0; bits &= bits - 1) {
      const unsigned length = word * 64 + static_cast<unsigned>(__builtin_ctzll(bits));
      const net::Cidr cidr = net::Cidr::of(address, length);
      const auto key = cidr_key(cidr);
      auto with_cidr = [&](const Posting& each) { visit(each, cidr); };
      for_key(std::string_view(key.data(), key.size()), 0, with_cidr);
    }
  }
}

}  // namespace weir::policy
