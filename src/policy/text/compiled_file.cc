#include "policy/text/compiled_file.h"

#include <algorithm>
#include <map>

#include "policy/compiled/layer_view.h"
#include "policy/compiled/own_names.h"
#include "policy/text/target.h"

namespace weir::policy {

namespace {

Result<Image> open_session(Bytes bytes) {
  WEIR_TRY(Image image, Image::open(bytes));
  WEIR_CHECK_OK(image.check_sums());
  const bool session_alone = image.layers().size() == 1 && image.layers().front().layer() == Layer::session;
  if (!session_alone || !image.nat64_prefixes().empty() || !image.self_addresses().empty()) {
    return fail("this compiled policy is not that of a session alone");
  }
  return image;
}

}  // namespace

Result<Image> open_compiled(const CompiledFile& file) {
  return in_context(open_session(file.bytes), file.name);
}

Result<PolicyText> text_of_compiled(const Image& image, const std::string& name) {
  WEIR_TRY(ImageSource source, in_context(read_back(image, name), name));
  PolicyText text;
  text.file = name;
  text.mode = ModeWord{.mode = image.mode()};
  text.mode_word = name_of(image.mode());
  text.name_need = source.layers.front().name_need;
  text.dns_types = source.layers.front().dns_types;
  text.dns_upstreams = std::move(source.dns_upstreams);
  text.publishes = std::move(source.publishes);
  for (EgressProxy& each : source.egress_proxies) {
    PolicyText::Egress& written = each.kind == EgressProxy::Kind::http ? text.upstream_proxy : text.upstream_socks;
    written.endpoint = each.endpoint;
    if (each.credentials_in != EgressProxy::CredentialsIn::nowhere) written.credentials = std::move(each);
  }
  for (std::size_t i = 0; i < kLimitCount; ++i) {
    if ((source.written_limits >> i & 1) != 0) text.limits[i] = source.limits.values[i];
  }
  text.compiled = std::move(source.layers.front());
  return text;
}

Result<std::vector<Entry>> noteworthy_entries(const Image& image) {
  const LayerView& layer = image.layers().front();
  std::map<std::uint32_t, Entry> found;  // in the order of the policy
  const bool whole = layer.for_all_keys([&](std::string_view key, const Posting& posting) {
    const bool said = (posting.flags & (format::kOpens | format::kBroad)) != 0 || key == kHostService;
    if (!said || posting.action != Action::allow) return;
    std::optional<Target> target = target_of(layer, key, posting);
    if (!target) return;
    Entry& entry = found[posting.entry];
    entry.action = posting.action;
    entry.text = layer.entry_text(posting.entry);
    entry.targets.push_back(std::move(*target));
  });
  if (!whole) return fail("the policy image is damaged (records)");
  std::vector<Entry> entries;
  for (auto& [index, entry] : found) entries.push_back(std::move(entry));
  return entries;
}

void add_broad(const Entry& entry, std::vector<std::string>& broad) {
  if (entry.action != Action::allow) return;
  for (const Target& target : entry.targets) {
    if (target.breadth != Breadth::broad) continue;
    std::string text = canonical_destination(target);
    if (std::ranges::find(broad, text) == broad.end()) broad.push_back(std::move(text));
  }
}

std::string hash_of(const ImagePatch& patch) {
  format::Header header;
  std::memcpy(&header, patch.head.data(), sizeof(header));
  return {header.hash.data(), header.hash.size()};
}

}  // namespace weir::policy
