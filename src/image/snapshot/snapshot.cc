#include "image/snapshot/snapshot.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/json.h"
#include "base/json_document.h"
#include "image/store.h"
#include "wire/labels.h"
#include "wire/layer_manifest.h"

namespace weir::image {
namespace {

constexpr std::size_t kMaxText = 4096;
constexpr const char* kKeptBy = "kept_by";  // absent from most

struct TextField {
  const char* key;
  std::string Snapshot::* member;
};
constexpr std::array kTexts = {
    TextField{"id", &Snapshot::id},           TextField{"name", &Snapshot::name},
    TextField{"created", &Snapshot::created}, TextField{"network_mode", &Snapshot::mode},
    TextField{"policy", &Snapshot::policy},   TextField{"taint", &Snapshot::taint},
    TextField{"session", &Snapshot::session}, TextField{"session_name", &Snapshot::session_name},
    TextField{"parent", &Snapshot::parent}};

std::unexpected<Error> damaged(const std::string& what) {
  return fail("the description of the snapshot is damaged: " + what);
}

Result<std::string> text_in(const Json& object, const char* key) {
  const Json* const value = json_member(object, key);
  if (value == nullptr || !value->is_string()) return damaged(std::string(key) + " is no text");
  std::string text = value->get<std::string>();
  if (text.size() > kMaxText) return damaged(std::string(key) + " is too long");
  return text;
}

Result<> only(const Json& object, const std::set<std::string>& keys) {
  if (!object.is_object()) return damaged("no object");
  for (const auto& [key, unused] : object.items()) {
    if (!keys.contains(key)) return damaged("an unknown key");
  }
  return {};
}

Result<std::uint64_t> number_in(const Json& object, const char* key) {
  const Json* const value = json_member(object, key);
  if (value == nullptr || !value->is_number_unsigned()) return damaged(std::string(key) + " is no number");
  return value->get<std::uint64_t>();
}

Result<> read_layers(const Json& whole, Snapshot& snapshot) {
  const Json* const layers = json_member(whole, "layers");
  if (layers == nullptr || !layers->is_array() || layers->size() > kMaxSnapshotLayers) return damaged("layers");
  for (const Json& each : *layers) {
    WEIR_CHECK_OK(only(each, {"digest", "entries", "bytes"}));
    SnapshotLayer layer;
    WEIR_TRY(layer.digest, text_in(each, "digest"));
    WEIR_TRY(layer.entries, number_in(each, "entries"));
    WEIR_TRY(layer.bytes, number_in(each, "bytes"));
    if (!wire::is_layer_digest(layer.digest)) return damaged("the digest of a layer");
    // An overlay cannot have the same folder twice.
    if (std::ranges::find(snapshot.layers, layer.digest, &SnapshotLayer::digest) != snapshot.layers.end())
      return damaged("a layer that comes twice");
    snapshot.layers.push_back(std::move(layer));
  }
  return {};
}

Result<> read_labels(const Json& whole, Snapshot& snapshot) {
  const Json* const labels = json_member(whole, "labels");
  if (labels == nullptr || !labels->is_object() || labels->size() > wire::kMaxLabels) return damaged("labels");
  for (const auto& [key, value] : labels->items()) {
    if (!value.is_string() || key.size() > kMaxText) return damaged("a label");
    snapshot.labels.emplace_back(key, value.get<std::string>());
    if (snapshot.labels.back().second.size() > kMaxText) return damaged("a label");
  }
  return {};
}

Result<> read_base(const Json& whole, Snapshot& snapshot) {
  const Json* const base = json_member(whole, "base");
  if (base == nullptr) return damaged("base");
  WEIR_CHECK_OK(only(*base, {"image", "digest", "created"}));
  WEIR_TRY(snapshot.base.image, text_in(*base, "image"));
  WEIR_TRY(snapshot.base.digest, text_in(*base, "digest"));
  WEIR_TRY(snapshot.base.created, text_in(*base, "created"));
  if (!snapshot.base.image.empty() && !is_image_name(snapshot.base.image)) return damaged("the name of its image");
  return {};
}

// Modes without a way out, the narrowest first.
constexpr std::array<std::string_view, 2> kSealed = {"none", "inbound"};

std::size_t rank_of(std::string_view mode) {
  return static_cast<std::size_t>(std::ranges::find(kSealed, mode) - kSealed.begin());
}

}  // namespace

bool is_snapshot_id(std::string_view text) {
  return text.size() == 10 && text.starts_with("s-") &&
         text.substr(2).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_snapshot_name(std::string_view text) {
  return is_image_name(text) && !is_snapshot_id(text);
}

std::string snapshot_json(const Snapshot& snapshot) {
  JsonWriter json;
  json.begin_object().field("v", std::uint64_t{1});
  for (const auto& [key, member] : kTexts) json.field(key, std::string_view(snapshot.*member));
  if (!snapshot.kept_by.empty()) json.field(kKeptBy, std::string_view(snapshot.kept_by));
  json.key("labels").begin_object();
  for (const auto& [key, value] : snapshot.labels) json.field(key, std::string_view(value));
  json.end_object();
  json.key("base").begin_object();
  json.field("image", std::string_view(snapshot.base.image))
      .field("digest", std::string_view(snapshot.base.digest))
      .field("created", std::string_view(snapshot.base.created))
      .end_object();
  json.key("layers").begin_array();
  for (const SnapshotLayer& layer : snapshot.layers) {
    json.begin_object()
        .field("digest", std::string_view(layer.digest))
        .field("entries", layer.entries)
        .field("bytes", layer.bytes)
        .end_object();
  }
  json.end_array().end_object();
  return json.take();
}

std::string snapshot_summary(const Snapshot& snapshot, const std::vector<std::string>& remarks) {
  std::uint64_t bytes = 0;
  for (const SnapshotLayer& layer : snapshot.layers) bytes += layer.bytes;
  JsonWriter json;
  json.begin_object()
      .field("id", std::string_view(snapshot.id))
      .field("name", std::string_view(snapshot.name.empty() ? snapshot.id : snapshot.name))
      .field("created", std::string_view(snapshot.created))
      .field("bytes", bytes)
      .field("network_mode", std::string_view(snapshot.mode))
      .field("policy", std::string_view(snapshot.policy));
  for (const auto& [key, value] : {std::pair<const char*, const std::string&>("image", snapshot.base.image),
                                   {"taint", snapshot.taint},
                                   {"session", snapshot.session},
                                   {"parent", snapshot.parent}}) {
    if (!value.empty()) json.field(key, std::string_view(value));
  }
  json.key("labels").begin_object();
  for (const auto& [key, value] : snapshot.labels) json.field(key, std::string_view(value));
  json.end_object().key("layers").begin_array();
  for (const SnapshotLayer& layer : snapshot.layers) {
    json.begin_object()
        .field("digest", std::string_view("sha256:" + layer.digest))
        .field("entries", layer.entries)
        .field("bytes", layer.bytes)
        .end_object();
  }
  json.end_array().key("remarks").begin_array();
  for (const std::string& remark : remarks) json.value(std::string_view(remark));
  json.end_array().end_object();
  return json.take();
}

Result<Snapshot> parse_snapshot(std::string_view text) {
  if (text.size() > kMaxSnapshotText) return damaged("too large");
  WEIR_TRY(const Json whole, in_context(parse_json(text), "the description of the snapshot"));
  std::set<std::string> keys = {"v", "labels", "base", "layers", kKeptBy};
  for (const auto& field : kTexts) keys.insert(field.key);
  WEIR_CHECK_OK(only(whole, keys));
  WEIR_TRY(const std::uint64_t version, number_in(whole, "v"));
  if (version != 1) return damaged("another version of weir made it");
  Snapshot snapshot;
  for (const auto& [key, member] : kTexts) {
    WEIR_TRY(snapshot.*member, text_in(whole, key));
  }
  if (whole.contains(kKeptBy)) {
    WEIR_TRY(snapshot.kept_by, text_in(whole, kKeptBy));
    if (!snapshot.kept_by.starts_with('/')) return damaged(kKeptBy);
  }
  if (!is_snapshot_id(snapshot.id)) return damaged("id");
  if (!snapshot.name.empty() && !is_snapshot_name(snapshot.name)) return damaged("name");
  if (!snapshot.taint.empty() && rank_of(snapshot.taint) == kSealed.size()) return damaged("taint");
  WEIR_CHECK_OK(read_labels(whole, snapshot));
  WEIR_CHECK_OK(read_base(whole, snapshot));
  WEIR_CHECK_OK(read_layers(whole, snapshot));
  return snapshot;
}

std::string taint_of(std::string_view mode, std::string_view taint) {
  const std::size_t rank = std::min(rank_of(mode), rank_of(taint));
  return rank < kSealed.size() ? std::string(kSealed.at(rank)) : "";
}

bool may_open(std::string_view taint, std::string_view mode) {
  return taint.empty() || rank_of(mode) <= rank_of(taint);
}

}  // namespace weir::image
