// One layer of an image: look-ups by name, address and class. Internal to this room, lint and explain.
//
// A view exists only over sections that Image::open() has found to lie in the image; what the records in them say is
// checked when it is followed.
#pragma once

#include <cstring>
#include <optional>
#include <string_view>

#include "policy/compiled/address_class.h"
#include "policy/compiled/format.h"
#include "policy/compiled/hash.h"
#include "policy/compiled/record_span.h"
#include "policy/compiled/slot_table.h"
#include "policy/compiled/source.h"

namespace weir::policy {

// One use of a key by an entry.
struct Posting {
  std::uint32_t entry = 0;
  Action action = Action::deny;
  ProtocolSet protocols;
  std::uint8_t flags = 0;  // format::PostingFlag
  std::uint32_t first_range = 0;
  std::uint16_t range_count = 0;
};

// What a record that points nowhere is taken for: the first entry of its layer, and a denial of everything. Only bytes
// that weir did not write have such records, and whoever reads them must not be allowed anything because of it.
inline constexpr Posting kBrokenPosting = {.entry = 0,
                                           .action = Action::deny,
                                           .protocols = ProtocolSet::all(),
                                           .flags = format::kExact | format::kBelow,
                                           .first_range = 0,
                                           .range_count = 0};

class LayerView {
 public:
  LayerView(Bytes image, const format::LayerRecord& record);

  Layer layer() const { return static_cast<Layer>(record_.layer); }
  Mode mode() const { return static_cast<Mode>(record_.mode); }
  bool name_required() const { return record_.name_required != 0; }
  bool names_in_deny_or_rules() const { return record_.names_in_deny_or_rules != 0; }
  // The first allow entry with a CIDR or class; format::kNone if there is none.
  std::uint32_t address_allow() const { return record_.address_allow; }
  // Does some denying entry with a name hold at this TCP port?
  bool name_deny_at(net::Port port) const;
  bool lists_type(std::uint16_t type) const;
  std::vector<std::uint16_t> listed_types() const;
  std::uint64_t hash_key() const { return record_.hash_key; }

  std::uint32_t entry_count() const { return entries_.size(); }
  std::string_view entry_text(std::uint32_t entry) const;
  Action entry_action(std::uint32_t entry) const { return entries_[entry].action == 1 ? Action::allow : Action::deny; }
  Step entry_step(std::uint32_t entry) const;
  bool entry_accepts_ech(std::uint32_t entry) const { return entries_[entry].ech == 1; }

  // The lists that were imported, and the one of them that an entry stands for; nullopt for every other entry.
  const RecordSpan<format::ListRecord>& lists() const { return lists_; }
  std::optional<std::uint32_t> listed_names(std::uint32_t entry) const;

  // Does the posting hold for this protocol and port? ICMP has no ports: only postings without ports hold for it.
  bool holds(const Posting& posting, net::Protocol protocol, net::Port port) const;
  net::PortRange range(const Posting& posting, std::uint16_t index) const;

  // Calls visit(const Posting&) for each posting that matches the name: exact ones of the name itself, below ones of
  // every ancestor. Lists too.
  template <class Visit>
  void for_name(std::string_view name, Visit visit) const {
    const Suffixes suffixes(*this, name);
    for (std::size_t i = 0; i < suffixes.size(); ++i) {
      const Suffix each = suffixes[i];
      const bool itself = i == 0;
      for_key(each, itself ? format::kExact : format::kBelow, visit);
      for_listed(each.hash, itself ? format::kListedExact : format::kListedBelow, visit);
    }
  }
  // Only the postings that name exactly this; lists are left out.
  template <class Visit>
  void for_exact_name(std::string_view name, Visit visit) const {
    for_key(suffix(name), format::kExact, visit);
  }
  // Only the `below` postings of the name itself and of its ancestors: what holds for everything below it. Lists too.
  template <class Visit>
  void for_all_below(std::string_view name, Visit visit) const {
    const Suffixes suffixes(*this, name);
    for (std::size_t i = 0; i < suffixes.size(); ++i) {
      const Suffix each = suffixes[i];
      for_key(each, format::kBelow, visit);
      for_listed(each.hash, format::kListedBelow, visit);
    }
  }
  // The part of the name by which the list of this entry matches it; nullopt if it does not. For explain.
  std::optional<std::string_view> listed_as(std::string_view name, std::uint32_t entry) const;
  // Everything that the layer was built from but the lists. visit(std::string_view key, const Posting&). False, having
  // visited a part, where the image is damaged: keys share no postings, and an image that says so would be read for
  // hours.
  template <class Visit>
  [[nodiscard]] bool for_all_keys(Visit visit) const {
    std::uint32_t next = 0;
    for (std::uint32_t i = 0; i < keys_.size(); ++i) {
      const format::KeyRecord record = keys_[i];
      if (record.first_posting != next || !is_whole(record)) return false;
      for (; next < record.first_posting + record.posting_count; ++next) {
        const auto each = posting(next);
        if (!each) return false;
        visit(key_text(record), *each);
      }
    }
    return next == postings_.size();
  }
  // The slots of listed names, in order.
  template <class Visit>
  void for_all_listed(Visit visit) const {
    listed_.for_all(visit);
  }

  // Every posting of a CIDR that contains the address. visit(const Posting&, const net::Cidr&).
  template <class Visit>
  void for_address(const net::IpAddress& address, Visit visit) const;
  template <class Visit>
  void for_class(AddressClass address_class, Visit visit) const {
    if ((record_.classes >> static_cast<unsigned>(address_class) & 1) == 0) return;
    const std::array<char, 2> key = {format::kTagClass, static_cast<char>(address_class)};
    const Suffix wanted = suffix(std::string_view(key.data(), key.size()));
    if (find_key(wanted) == format::kNone) return visit(kBrokenPosting);
    for_key(wanted, 0, visit);
  }

  // The first allow entry with a name strictly below this one; format::kNone if there is none.
  std::uint32_t allowed_below(std::string_view name) const;

 private:
  struct Suffix {
    std::string_view text;
    std::uint64_t hash = 0;
  };
  // A name and its ancestors down to the root "", and what they will be looked up by on its way into the cache: the
  // look-ups wait for memory together, not one after the other.
  class Suffixes {
   public:
    Suffixes(const LayerView& layer, std::string_view name) : name_(name) {
      std::size_t start = 0;
      add(layer, start);
      while (start < name.size() && size_ < hashes_.size()) {
        const std::size_t dot = name.find('.', start);
        start = dot == std::string_view::npos ? name.size() : dot + 1;
        add(layer, start);
      }
    }
    std::size_t size() const { return size_; }
    Suffix operator[](std::size_t i) const { return {name_.substr(starts_[i]), hashes_[i]}; }

   private:
    void add(const LayerView& layer, std::size_t start) {
      const Suffix suffix = layer.suffix(name_.substr(start));
      layer.key_slots_.prefetch(suffix.hash);
      layer.listed_.prefetch(suffix.hash);
      starts_[size_] = static_cast<std::uint8_t>(start);
      hashes_[size_++] = suffix.hash;
    }
    // 253 bytes are at most 127 labels, and the root. Left as they are until used: clearing them would cost more than
    // the look-up.
    static constexpr std::size_t kMaxSuffixes = 128;
    std::string_view name_;
    std::size_t size_ = 0;
    std::array<std::uint8_t, kMaxSuffixes> starts_;
    std::array<std::uint64_t, kMaxSuffixes> hashes_;
  };

  Suffix suffix(std::string_view text) const { return {text, hash_bytes(as_bytes(text), record_.hash_key)}; }
  static constexpr std::uint32_t kBrokenKey = format::kNone - 1;
  // format::kNone if absent, kBrokenKey if the slot leads nowhere.
  std::uint32_t find_key(const Suffix& key) const;
  // Do its text and its postings lie in the image?
  bool is_whole(const format::KeyRecord& record) const {
    return std::uint64_t{record.text_offset} + record.text_size <= text_.size() &&
           std::uint64_t{record.first_posting} + record.posting_count <= postings_.size();
  }
  std::string_view key_text(const format::KeyRecord& record) const {
    return text_at(record.text_offset, record.text_size);
  }
  std::string_view text_at(std::uint32_t offset, std::uint32_t size) const {
    return offset <= text_.size() ? text_.substr(offset, size) : std::string_view();
  }
  // Of an entry that is there; nullopt where the image lies.
  std::optional<Posting> posting(std::uint32_t index) const;
  Posting listed_posting(std::uint64_t payload) const;

  template <class Visit>
  void for_key(const Suffix& key, std::uint8_t wanted_flags, Visit& visit) const {
    const std::uint32_t found = find_key(key);
    if (found == format::kNone) return;
    if (found == kBrokenKey) return visit(kBrokenPosting);
    const format::KeyRecord record = keys_[found];
    for (std::uint32_t i = 0; i < record.posting_count; ++i) {
      const Posting each = posting(record.first_posting + i).value_or(kBrokenPosting);
      const bool nowhere = wanted_flags != 0 && (each.flags & (format::kExact | format::kBelow)) == 0;
      if (nowhere) visit(kBrokenPosting);
      if ((each.flags & wanted_flags) == wanted_flags) visit(each);
    }
  }
  template <class Visit>
  void for_listed(std::uint64_t hash, std::uint64_t wanted_scope, Visit& visit) const {
    listed_.for_each(hash, [&](std::uint64_t payload) {
      const Posting each = listed_posting(payload);
      if ((each.flags & wanted_scope) != 0) visit(each);
    });
  }

  format::LayerRecord record_;
  std::string_view text_;
  RecordSpan<format::EntryRecord> entries_;
  RecordSpan<format::KeyRecord> keys_;
  RecordSpan<format::PostingRecord> postings_;
  RecordSpan<format::RangeRecord> ranges_;
  RecordSpan<format::RangeRecord> name_deny_ports_;
  RecordSpan<std::uint16_t> types_;
  RecordSpan<format::ListRecord> lists_;
  KeySlots key_slots_;
  ListedSlots listed_;
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
      for_key(suffix(std::string_view(key.data(), key.size())), 0, with_cidr);
    }
  }
}

// What a key and its use were made from; nullopt for a key that no target has.
std::optional<Target> target_of(const LayerView& layer, std::string_view key, const Posting& posting);
// What the layer was built from; see read_back(Image).
Result<LayerSource> read_back(const LayerView& layer, const std::string& place);

}  // namespace weir::policy
