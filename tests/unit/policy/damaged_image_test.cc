// Records that point nowhere: whoever meets them is refused, and nothing is built upon them.
#include <cstring>

#include "policy/compiled/digest.h"
#include "policy/compiled/format.h"
#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

CompileInput source_of_image() {
  CompileInput input = file(
      "mode = \"public\"\ndeny = [\"evil.example\", \".worse.example:1-9,80,443\", \"93.184.0.0/16\"]\n"
      "allow = [\"good.example\"]\ndeny_lists = [\"list\"]\n");
  input.read_list = [](const std::string&) -> Result<std::string> { return "listed.example\n"; };
  return input;
}

// An image whose records a test changes.
class Damaged {
 public:
  explicit Damaged(const CompileInput& input = source_of_image()) : bytes_(compile_policy(input)->image) {
    std::memcpy(&header_, bytes_.data(), sizeof(header_));
  }

  format::LayerRecord layer() const { return at<format::LayerRecord>(header_.layers, 0); }
  void set(const format::LayerRecord& layer) { put(header_.layers, 0, layer); }

  template <class Record, class Change>
  Damaged& each(format::Section section, Change change) {
    for (std::uint32_t i = 0; i < section.count; ++i) {
      auto record = at<Record>(section, i);
      change(record);
      put(section, i, record);
    }
    return *this;
  }
  // As whoever knows how sums are made would leave it.
  void seal() {
    format::LayerRecord changed = layer();
    changed.checksum = checksum(Bytes(bytes_).subspan(changed.blob.offset, changed.blob.count));
    set(changed);
    header_.hash =
        digest_of(header_, [this](std::size_t at, std::size_t size) { return Bytes(bytes_).subspan(at, size); });
    std::memcpy(bytes_.data(), &header_, sizeof(header_));
  }
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }

 private:
  template <class Record>
  Record at(format::Section section, std::uint32_t index) const {
    Record record;
    std::memcpy(&record, bytes_.data() + section.offset + index * sizeof(Record), sizeof(record));
    return record;
  }
  template <class Record>
  void put(format::Section section, std::uint32_t index, const Record& record) {
    std::memcpy(bytes_.data() + section.offset + index * sizeof(Record), &record, sizeof(record));
  }

  std::vector<std::uint8_t> bytes_;
  format::Header header_;
};

struct Asked {
  bool resolved = false;
  bool connected = false;
};
Asked asked(const Image& image, std::string_view what, std::string_view address) {
  const net::DomainName text = name(what);
  const NameCandidate candidate{.name = &text, .aliases = {}};
  const Request request{
      .protocol = net::Protocol::tcp, .address = ip(address), .port = 443, .names = std::span(&candidate, 1)};
  return {.resolved = judge_name(image, text, 1).answer == NameAnswer::ask,
          .connected = admit_first_flight(image, {}, request, tls(what)).allowed};
}

// `denied` is denied by the whole image, and must be by the damaged one; what the damage does not touch stays as it
// was.
void expect_refused(const Damaged& damaged, std::string_view what, std::string_view address) {
  const auto image = Image::open(damaged.bytes());
  if (!image) return;  // as good
  EXPECT_FALSE(asked(*image, what, address).connected) << what;
  EXPECT_TRUE(asked(*image, "untouched.test", "198.18.0.1").resolved);
  const auto source = read_back(*image, "p");
  EXPECT_FALSE(source) << "something is built upon a damaged image";
}

constexpr const char* kElsewhere = "2606:4700::1";

TEST(DamagedImage, TheWholeOneDecides) {
  const Damaged whole;
  const auto image = Image::open(whole.bytes());
  ASSERT_TRUE(image);
  for (const char* text : {"evil.example", "x.worse.example", "listed.example"}) {
    EXPECT_FALSE(asked(*image, text, kElsewhere).connected) << text;
  }
  EXPECT_TRUE(asked(*image, "untouched.test", kElsewhere).connected);
  EXPECT_TRUE(asked(*image, "good.example", kElsewhere).connected);
  EXPECT_TRUE(read_back(*image, "p"));
}

TEST(DamagedImage, PostingsThatPointNowhereRefuse) {
  const auto damaged = [](auto change) {
    Damaged image;
    return image.each<format::PostingRecord>(image.layer().postings, change);
  };
  using Record = format::PostingRecord;
  for (const char* text : {"evil.example", "x.worse.example", "good.example"}) {
    expect_refused(damaged([](Record& record) { record.entry = 99; }), text, kElsewhere);
    expect_refused(damaged([](Record& record) {
                     record.first_range = 99;
                     record.range_count = 1;
                   }),
                   text, kElsewhere);
    expect_refused(damaged([](Record& record) { record.range_count = 999; }), text, kElsewhere);
    expect_refused(damaged([](Record& record) { record.protocols = 0; }), text, kElsewhere);
    expect_refused(damaged([](Record& record) { record.flags = 0; }), text, kElsewhere);
  }
  expect_refused(damaged([](Record& record) { record.entry = 99; }), "free.example", "93.184.215.14");
}

TEST(DamagedImage, KeysThatPointNowhereRefuse) {
  const auto damaged = [](auto change) {
    Damaged image;
    return image.each<format::KeyRecord>(image.layer().keys, change);
  };
  using Record = format::KeyRecord;
  for (const char* text : {"evil.example", "x.worse.example", "good.example"}) {
    expect_refused(damaged([](Record& record) { record.text_offset = 1u << 30; }), text, kElsewhere);
    expect_refused(damaged([](Record& record) { record.first_posting = 1u << 30; }), text, kElsewhere);
    expect_refused(damaged([](Record& record) { record.posting_count = 0xff'ffff; }), text, kElsewhere);
  }
}

TEST(DamagedImage, SlotsThatPointNowhereRefuse) {
  Damaged keys;
  keys.each<std::uint64_t>(keys.layer().key_slots.slots, [](std::uint64_t& slot) {
    if (slot != 0) slot |= 0xffff'fff0;
  });
  const auto image = Image::open(keys.bytes());
  ASSERT_TRUE(image);
  EXPECT_FALSE(asked(*image, "evil.example", kElsewhere).connected);
  EXPECT_FALSE(asked(*image, "good.example", kElsewhere).connected);
  Damaged list;
  list.each<std::uint64_t>(list.layer().listed.slots, [](std::uint64_t& slot) {
    if (slot != 0) slot |= 0x3fc;
  });
  expect_refused(list, "listed.example", kElsewhere);
  Damaged scope;
  scope.each<std::uint64_t>(scope.layer().listed.slots, [](std::uint64_t& slot) { slot &= ~std::uint64_t{3}; });
  expect_refused(scope, "listed.example", kElsewhere);
}

TEST(DamagedImage, RangesThatEndBeforeTheyBeginDeny) {
  Damaged image;
  image.each<format::RangeRecord>(image.layer().ranges,
                                  [](format::RangeRecord& record) { record = {.first = 9, .last = 1}; });
  expect_refused(image, "x.worse.example", kElsewhere);
}

TEST(DamagedImage, LayersThatHideTheirTablesAreNotOpened) {
  const auto opens = [](auto change) {
    Damaged image;
    format::LayerRecord layer = image.layer();
    change(layer);
    image.set(layer);
    return Image::open(image.bytes()).has_value();
  };
  using Record = format::LayerRecord;
  EXPECT_TRUE(opens([](Record&) {}));
  EXPECT_FALSE(opens([](Record& layer) { layer.listed.homes = 0; }));
  EXPECT_FALSE(opens([](Record& layer) { layer.listed = {}; }));
  EXPECT_FALSE(opens([](Record& layer) { layer.key_slots = {}; }));
  EXPECT_FALSE(opens([](Record& layer) { layer.key_slots.homes = 1000; }));
  EXPECT_FALSE(opens([](Record& layer) { layer.address_allow = 99; }));
  EXPECT_FALSE(opens([](Record& layer) { layer.classes = 1u << 31; }));
  EXPECT_FALSE(opens([](Record& layer) { layer.names_in_deny_or_rules = 0; }));
}

// The checksum of a layer is that of its blob.
TEST(DamagedImage, SectionsOutsideOfTheirBlobAreNotOpened) {
  const auto opens = [](auto change) {
    Damaged image;
    format::LayerRecord layer = image.layer();
    change(layer);
    image.set(layer);
    return Image::open(image.bytes()).has_value();
  };
  using Record = format::LayerRecord;
  format::Section Record::* const sections[] = {&Record::text,     &Record::entries, &Record::keys,
                                                &Record::postings, &Record::ranges,  &Record::name_deny_ports,
                                                &Record::types,    &Record::lists};
  for (const auto section : sections) {
    EXPECT_FALSE(opens([&](Record& layer) { (layer.*section).offset = layer.blob.offset - 8; }));
    EXPECT_FALSE(opens([&](Record& layer) { (layer.*section).offset = layer.blob.offset + layer.blob.count + 8; }));
  }
  EXPECT_FALSE(opens([](Record& layer) { layer.key_slots.slots.offset = layer.blob.offset - 8; }));
  EXPECT_FALSE(opens([](Record& layer) { layer.listed.slots.offset = layer.blob.offset - 8; }));
  EXPECT_FALSE(opens([](Record& layer) { layer.blob.count -= 8; }));
}

// Whatever a sealed image says: where it opens a private network, its start says so.
TEST(DamagedImage, ShuffledPostingsOpenNothingInSilence) {
  unsigned opened = 0;
  for (std::uint32_t shift = 0; shift < 3; ++shift) {
    Damaged image(file("allow = [\"good.example\", \"10.0.0.0/8\", \"93.184.216.34\"]\n"));
    std::vector<format::PostingRecord> postings;
    const format::Section section = image.layer().postings;
    image.each<format::PostingRecord>(section, [&](auto& posting) { postings.push_back(posting); });
    std::ranges::rotate(postings, postings.begin() + shift);
    std::size_t at = 0;
    image.each<format::PostingRecord>(section, [&](auto& posting) { posting = postings[at++]; });
    image.seal();
    CompileInput input;
    input.session.compiled = CompiledFile{.name = "p.image", .bytes = image.bytes()};
    const auto compiled = compile_policy(input);
    if (!compiled) continue;  // as good
    if (!admit(*Image::open(image.bytes()), {},
               {.protocol = net::Protocol::tcp, .address = ip("10.1.2.3"), .port = 443, .names = {}})
             .allowed)
      continue;
    ++opened;
    const auto says = [](const std::string& notice) { return notice.find("opens") != std::string::npos; };
    EXPECT_TRUE(std::ranges::any_of(compiled->notices, says)) << shift;
  }
  EXPECT_GE(opened, 1u);
}

// What sorted_slots() never gives would be laid out for ever.
TEST(DamagedImage, UnsortedListsAreNotBuiltUpon) {
  ListedNames names;
  EXPECT_TRUE(names.restore({0x401, 0x801}, 1));
  EXPECT_FALSE(names.restore({0x801, 0x401}, 1));
  EXPECT_FALSE(names.restore({0x401, 0x401}, 1));
  EXPECT_FALSE(names.restore({0x400}, 1));
  EXPECT_FALSE(names.restore({0x405}, 1));
}

}  // namespace
}  // namespace weir::policy::testing
