#include "policy/text/layer_lists.h"

#include <algorithm>

#include "policy/compiled/hash.h"

namespace weir::policy {

namespace {

std::string beside(const std::string& policy_file, const std::string& path) {
  const std::size_t slash = policy_file.rfind('/');
  if (path.starts_with('/') || slash == std::string::npos) return path;
  return policy_file.substr(0, slash + 1) + path;
}

class ListsReader {
 public:
  explicit ListsReader(const FileReader& read) : read_(read) {}

  Result<> add(ListSpec spec, const std::string& path, std::string place) {
    if (!read_) return fail(place + ": lists cannot be read here");
    Result<std::string> text = read_(path);
    if (!text) return std::unexpected(std::move(text).error().context(place));
    bytes_ += text->size();
    if (bytes_ > kMaxListBytes) {
      return std::unexpected(Error(place + ": the lists of one policy are larger than 256 MiB together")
                                 .with_remedy("leave lists out, or ones that say the same"));
    }
    lists_.push_back({.spec = std::move(spec), .text = std::move(*text), .place = std::move(place)});
    return {};
  }
  std::vector<ListText> take() { return std::move(lists_); }

 private:
  const FileReader& read_;
  std::size_t bytes_ = 0;
  std::vector<ListText> lists_;
};

}  // namespace

Result<std::vector<ListText>> read_lists(const PolicyText& policy, const std::vector<std::string>& flags,
                                         const FileReader& read) {
  ListsReader reader(read);
  for (const WrittenTarget& each : policy.deny_lists) {
    WEIR_TRY(ListSpec spec, parse_list_spec(each.text));
    const std::string path = beside(policy.file, spec.path);
    std::string place = place_text(policy.file, each.at);
    if (place.ends_with(": ")) place.resize(place.size() - 2);
    WEIR_CHECK_OK(reader.add(std::move(spec), path, std::move(place)));
  }
  for (const std::string& each : flags) {
    WEIR_TRY(ListSpec spec, in_context(parse_list_spec(each), "--deny-list"));
    const std::string path = spec.path;
    WEIR_CHECK_OK(reader.add(std::move(spec), path, "--deny-list"));
  }
  return reader.take();
}

std::uint64_t key_of(const std::vector<ListText>& lists) {
  std::uint64_t key = 0;
  for (const ListText& list : lists) key = mix(key ^ checksum(as_bytes(list.text)), kRoot3);
  return key;
}

Result<Entry> add_list(const ListText& list, InvalidLines invalid, ListedNames& names,
                       std::vector<std::string>& notices) {
  const std::string title = "list " + list.spec.path;
  const std::string where = list.place + ": " + title + ": ";
  const ListReport report = read_list(list.text, list.spec.format, names);
  if (report.too_many) {
    return std::unexpected(Error(where + "more than " + std::to_string(ListedNames::kMaxNames) + " names in one policy")
                               .with_remedy("use a shorter list"));
  }
  if (report.invalid != 0 && invalid == InvalidLines::refused) {
    return std::unexpected(
        Error(where + invalid_text(report)).with_remedy("correct them, or leave them out with --skip-invalid"));
  }
  if (report.invalid != 0) notices.push_back(title + ": left out " + invalid_text(report));
  const std::uint32_t count = names.close_list();
  // A download that failed leaves an empty file: it must not mean that nothing is denied.
  if (count == 0) return std::unexpected(Error(where + "it names nothing").with_remedy("get it again, or take it out"));
  return Entry{.action = Action::deny,
               .step = Step::deny,
               .ech = Ech::refused,
               .text = title,
               .place = list.place,
               .targets = {},
               .listed = count};
}

Result<> check_list_count(const std::vector<Entry>& entries) {
  const auto is_list = [](const Entry& entry) { return entry.listed.has_value(); };
  const auto lists = static_cast<std::size_t>(std::ranges::count_if(entries, is_list));
  if (lists <= ListedNames::kMaxLists) return {};
  return fail("more than " + std::to_string(ListedNames::kMaxLists) + " lists in one policy");
}

}  // namespace weir::policy
