// The bytes of an image: a header, then arrays of fixed-size records in the byte order of the machine (an image never
// leaves the machine that compiled it). Internal to this room.
//
// Per layer, in one piece: entries (what the author wrote), keys (each name suffix, CIDR or class that an entry
// mentions, once), a slot table over the keys, postings (key -> entries, with protocols and ports), and a slot table of
// the names in imported lists, of which only hashes are kept (docs/decisions/0007-names-by-the-million.md). Key bytes:
// a name is its text ("" is the root); a CIDR is kTagV4 or kTagV6, the prefix length within the family and 16 bytes; a
// class is kTagClass and its number. No name begins with a tag. Offsets count from the start of the image, so a layer
// stays valid where another one is put behind it (graft_floor()).
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "policy/compiled/image.h"

namespace weir::policy::format {

inline constexpr std::array<char, 8> kMagic = {'w', 'e', 'i', 'r', 'p', 'o', 'l', '2'};  // the last is the version
inline constexpr char kTagV4 = 1;
inline constexpr char kTagV6 = 2;
inline constexpr char kTagClass = 3;
inline constexpr std::size_t kMaxLayers = static_cast<std::size_t>(kInnermostLayer);
inline constexpr std::uint32_t kNone = 0xffff'ffff;
inline constexpr std::uint32_t kHashDigits = 16;

// `count` records from byte `offset` of the image on.
struct Section {
  std::uint32_t offset = 0;
  std::uint32_t count = 0;
};

// A slot table (slot_table.h): `slots.count` times std::uint64_t, of which the first `homes` are where a hash can
// point.
struct SlotSection {
  Section slots;
  std::uint32_t homes = 0;
};

struct AddressRecord {
  std::array<std::uint8_t, 16> bytes;
};
struct CidrRecord {
  std::array<std::uint8_t, 16> base;
  std::uint32_t length;  // within the family
};
struct UpstreamRecord {
  std::array<std::uint8_t, 16> address;
  std::uint16_t port;
  std::uint8_t transport;
  std::uint8_t unused;
};
struct PublishRecord {
  std::array<std::uint8_t, 16> bind;
  std::uint16_t host;
  std::uint16_t guest;
  std::uint8_t protocol;
  std::array<std::uint8_t, 3> unused;
};

struct EntryRecord {
  std::uint32_t text_offset;  // into LayerRecord::text
  std::uint32_t text_size;
  std::uint8_t action;
  std::uint8_t step;
  std::uint8_t ech;
  std::uint8_t unused;
};

struct KeyRecord {
  std::uint32_t text_offset;
  std::uint32_t first_posting;
  std::uint32_t posting_count : 24;
  std::uint32_t text_size : 8;
  // The first allow entry with a name strictly below this one; kNone if there is none.
  std::uint32_t allowed_below;
};

enum PostingFlag : std::uint8_t {
  kExact = 1,    // matches the key's name itself
  kBelow = 2,    // matches every name below it
  kBroad = 4,    // Breadth::broad
  kOpens = 8,    // an address target that opens the soft floor
  kPort53 = 16,  // an exact address with port 53 written out
};
struct PostingRecord {
  std::uint32_t entry;
  std::uint32_t first_range;  // into LayerRecord::ranges
  std::uint16_t range_count;  // 0: any port
  std::uint8_t protocols;
  std::uint8_t flags;
};

// An imported list: the entry that stands for it, and how many names it has.
struct ListRecord {
  std::uint32_t entry;
  std::uint32_t names;
};
// What a slot of listed names says besides the hash: which list, and where the name holds.
inline constexpr unsigned kKeySlotBits = 32;  // index of a key plus 1
inline constexpr unsigned kListedSlotBits = 10;
inline constexpr std::uint64_t kListedExact = 1;
inline constexpr std::uint64_t kListedBelow = 2;
inline constexpr unsigned kListShift = 2;
inline constexpr std::uint32_t kMaxLists = 1u << (kListedSlotBits - kListShift);

struct RangeRecord {
  std::uint16_t first;
  std::uint16_t last;
};

struct LayerRecord {
  std::uint8_t layer;
  std::uint8_t mode;
  std::uint8_t name_required;
  std::uint8_t names_in_deny_or_rules;  // 1: the rule for UDP 443 applies
  Section blob;                         // bytes: everything below lies in it
  Section text;                         // bytes
  Section entries;
  Section keys;
  Section postings;
  Section ranges;
  Section name_deny_ports;  // RangeRecord: TCP ports at which some denying entry with a name holds; disjoint
  Section types;            // std::uint16_t: dns.types
  Section lists;            // ListRecord, in the order of their entries
  SlotSection key_slots;
  SlotSection listed;
  // The first allow entry with a CIDR or class; kNone if there is none.
  std::uint32_t address_allow;
  std::uint32_t classes;  // bit i: some entry names class i
  std::uint32_t unused;
  // Which prefix lengths, within the family, the CIDR keys of a family have.
  std::array<std::uint64_t, 3> lengths4;
  std::array<std::uint64_t, 3> lengths6;
  std::uint64_t hash_key;  // of both slot tables
  std::uint64_t checksum;  // of the blob
};

struct Header {
  std::array<char, 8> magic;
  std::array<char, kHashDigits> hash;  // over everything else; over the layers by their checksums
  std::uint32_t total_size;
  std::uint32_t written_limits;  // bit i: the policy sets limit i, it is not the default of the mode
  Section layers;
  Section nat64_prefixes;
  Section self_addresses;
  Section lifted;
  Section upstreams;
  Section publishes;
  std::array<std::uint64_t, kLimitCount> limits;
};
// No padding anywhere: equal sources give equal bytes.
template <class... Records>
inline constexpr bool kWithoutPadding = (std::has_unique_object_representations_v<Records> && ...);
static_assert(kWithoutPadding<AddressRecord, CidrRecord, UpstreamRecord, PublishRecord, EntryRecord, KeyRecord,
                              PostingRecord, ListRecord, RangeRecord, LayerRecord, Header>);

inline constexpr std::size_t kHashedFrom = sizeof(Header::magic) + sizeof(Header::hash);

}  // namespace weir::policy::format
