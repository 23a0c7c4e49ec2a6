#include "supervisor/session/sleep_plan.h"

#include <array>

#include "base/json.h"
#include "base/json_document.h"
#include "wire/json_fields.h"

namespace weir::supervisor {
namespace {

using Slept = SessionOptions::Slept;
using wire::JsonFields;

constexpr std::uint64_t kVersion = 1;
// All there are, and each must be there.
constexpr std::array kKeys = {"v",
                              "name",
                              "labels",
                              "idle_ms",
                              "bootstrap",
                              "restart",
                              "tool_sources",
                              "layers_below",
                              "snapshot",
                              "created",
                              "expires_at",
                              "sequence",
                              "id",
                              "hostname",
                              "env",
                              "workdir",
                              "user",
                              "shares",
                              "tools",
                              "network",
                              "addresses",
                              "limits",
                              "snapshots_folder",
                              "parent",
                              "image",
                              "image_digest",
                              "image_created",
                              "taint",
                              "policy_mode",
                              "policy_hash",
                              "floor_hash",
                              "sensitive",
                              "control_path",
                              "events",
                              "events_path",
                              "run_name",
                              "verbosity",
                              "grace_ms",
                              "generation",
                              "has_after",
                              "entered_after",
                              "published"};

template <class Enum>
struct Spelling {
  Enum value;
  std::string_view text;
};
constexpr std::array kAccess = {
    Spelling{sandbox::Share::Access::read_write, "rw"}, Spelling{sandbox::Share::Access::read_only, "ro"},
    Spelling{sandbox::Share::Access::copy, "copy"}, Spelling{sandbox::Share::Access::overlay, "overlay"}};
constexpr std::array kNetwork = {Spelling{sandbox::Network::loopback, "loopback"},
                                 Spelling{sandbox::Network::captured, "captured"},
                                 Spelling{sandbox::Network::host, "host"}};
constexpr std::array kRestart = {Spelling{SessionOptions::Restart::no, "no"},
                                 Spelling{SessionOptions::Restart::on_failure, "on-failure"},
                                 Spelling{SessionOptions::Restart::always, "always"}};
constexpr std::array kEvents = {Spelling{EventsSink::Kind::default_file, "default"},
                                Spelling{EventsSink::Kind::file, "file"}, Spelling{EventsSink::Kind::none, "none"}};
constexpr std::array kVerbosity = {Spelling{Verbosity::quiet, "quiet"}, Spelling{Verbosity::normal, "normal"},
                                   Spelling{Verbosity::debug, "debug"}};

template <class Enum, std::size_t size>
std::string_view text_of(const std::array<Spelling<Enum>, size>& spellings, Enum value) {
  for (const auto& each : spellings) {
    if (each.value == value) return each.text;
  }
  return "";
}

template <class Enum, std::size_t size>
Result<> take(JsonFields& fields, const char* key, const std::array<Spelling<Enum>, size>& spellings, Enum& out) {
  std::string text;
  WEIR_CHECK_OK(fields.text(key, text));
  for (const auto& each : spellings) {
    if (each.text != text) continue;
    out = each.value;
    return {};
  }
  return fail(std::string(key) + " is nothing that it can be");
}

// Writes texts, and remembers the first that does not come back as it was.
class Plan {
 public:
  JsonWriter& json() { return json_; }
  Plan& text(std::string_view key, std::string_view text) {
    json_.key(key);
    return value(key, text);
  }
  Plan& number(std::string_view key, std::uint64_t number) {
    json_.field(key, number);
    return *this;
  }
  Plan& texts(std::string_view key, const std::vector<std::string>& texts) {
    json_.key(key).begin_array();
    for (const std::string& each : texts) value(key, each);
    json_.end_array();
    return *this;
  }
  Plan& pairs(std::string_view key, const std::vector<std::pair<std::string, std::string>>& pairs) {
    json_.key(key).begin_object();
    for (const auto& [name, content] : pairs) {
      note(key, name);
      text(name, content);
    }
    json_.end_object();
    return *this;
  }

  Result<std::string> take() {
    if (lost_.empty()) return json_.take() + "\n";
    return std::unexpected(
        Error("what is neither text nor UTF-8 cannot be kept while a session sleeps: " + printable_key(lost_))
            .with_remedy("leave it out, or write --on-idle stop"));
  }

 private:
  Plan& value(std::string_view key, std::string_view text) {
    note(key, text);
    json_.value(text);
    return *this;
  }
  void note(std::string_view key, std::string_view text) {
    if (!lost_.empty()) return;
    const auto again = parse_json(json_string(text));
    const bool same = again && again->is_string() && again->get<std::string>() == text;
    if (!same || text.find('\0') != std::string_view::npos) lost_ = key;
  }
  static std::string printable_key(const std::string& key) { return wire::quoted_key(key); }

  JsonWriter json_;
  std::string lost_;
};

void write_files(Plan& plan, const sandbox::Spec& spec) {
  plan.json().key("shares").begin_array();
  for (const sandbox::Share& share : spec.shares) {
    plan.json().begin_object();
    plan.text("source", share.source).text("target", share.target).text("access", text_of(kAccess, share.access));
    plan.texts("read_only_below", share.read_only_below);
    plan.json().end_object();
  }
  plan.json().end_array();
  plan.texts("tools", spec.tools);
}

void write_spec(Plan& plan, const sandbox::Spec& spec, const std::optional<std::uint64_t>& disk_bytes) {
  plan.text("id", spec.id).text("hostname", spec.hostname).pairs("env", spec.env).text("workdir", spec.workdir);
  plan.json().key("user").begin_object();
  plan.number("uid", spec.user.uid).number("gid", spec.user.gid);
  plan.text("name", spec.user.name).text("home", spec.user.home);
  plan.json().end_object();
  write_files(plan, spec);
  plan.text("network", text_of(kNetwork, spec.network));
  plan.json().field("published", spec.published);
  const sandbox::CaptureAddresses& known = spec.addresses;
  plan.json().key("addresses").begin_array();
  for (const net::IpAddress* each :
       {&known.guest4, &known.gateway4, &known.guest6, &known.gateway6, &known.host4, &known.host6})
    plan.json().value(each->text());
  plan.json().end_array().key("limits").begin_object();
  plan.number("memory_bytes", spec.limits.memory_bytes.value_or(0));
  plan.number("cpu_millis", spec.limits.cpu_millis.value_or(0));
  plan.number("processes", spec.limits.processes.value_or(0));
  plan.number("disk_bytes", disk_bytes.value_or(0));
  plan.json().end_object();
}

void write_run(Plan& plan, const RunOptions& run, const SleepStage& stage) {
  plan.text("snapshots_folder", run.snapshots_folder).text("parent", run.begun_from.parent);
  plan.text("image", run.begun_from.base.image).text("image_digest", run.begun_from.base.digest);
  plan.text("image_created", run.begun_from.base.created).text("taint", run.begun_from.taint);
  plan.text("policy_mode", run.policy_mode).text("policy_hash", stage.policy_hash).text("floor_hash", run.floor_hash);
  plan.texts("sensitive", run.sensitive).text("control_path", run.control_path);
  plan.text("events", text_of(kEvents, run.events.kind)).text("events_path", run.events.path);
  plan.text("run_name", run.name).text("verbosity", text_of(kVerbosity, run.verbosity));
  plan.number("grace_ms", static_cast<std::uint64_t>(run.grace.count()));
  plan.number("generation", stage.policy.generation);
  plan.json().field("has_after", run.after.has_value()).field("entered_after", stage.policy.entered_after);
}

Result<> read_user(JsonFields& fields, sandbox::User& user) {
  const Json* const member = fields.member("user");
  if (member == nullptr || !member->is_object()) return fail("no user");
  JsonFields inner(*member);
  WEIR_CHECK_OK(inner.number("uid", user.uid));
  WEIR_CHECK_OK(inner.number("gid", user.gid));
  WEIR_CHECK_OK(inner.text("name", user.name));
  WEIR_CHECK_OK(inner.text("home", user.home));
  return inner.nothing_else();
}

Result<> read_shares(JsonFields& fields, std::vector<sandbox::Share>& shares) {
  const Json* const member = fields.member("shares");
  if (member == nullptr || !member->is_array() || member->size() > JsonFields::kMaxItems) return fail("no shares");
  for (const Json& each : *member) {
    if (!each.is_object()) return fail("a share that is no object");
    JsonFields inner(each);
    sandbox::Share share;
    WEIR_CHECK_OK(inner.text("source", share.source));
    WEIR_CHECK_OK(inner.text("target", share.target));
    WEIR_CHECK_OK(take(inner, "access", kAccess, share.access));
    WEIR_CHECK_OK(inner.texts("read_only_below", share.read_only_below));
    WEIR_CHECK_OK(inner.nothing_else());
    shares.push_back(std::move(share));
  }
  return {};
}

Result<> read_addresses(JsonFields& fields, sandbox::CaptureAddresses& addresses) {
  std::vector<std::string> texts;
  WEIR_CHECK_OK(fields.texts("addresses", texts));
  const std::array places = {&addresses.guest4,   &addresses.gateway4, &addresses.guest6,
                             &addresses.gateway6, &addresses.host4,    &addresses.host6};
  if (texts.size() != places.size()) return fail("not as many addresses as there are");
  for (std::size_t i = 0; i < places.size(); ++i) {
    WEIR_TRY(*places.at(i), net::IpAddress::parse(texts[i]));
  }
  return {};
}

Result<> read_limits(JsonFields& fields, sandbox::Limits& limits) {
  const Json* const member = fields.member("limits");
  if (member == nullptr || !member->is_object()) return fail("no limits");
  JsonFields inner(*member);
  const auto taken = [&inner]<class Number>(const char* key, std::optional<Number>& out) -> Result<> {
    Number number = 0;
    WEIR_CHECK_OK(inner.number(key, number));
    if (!inner.has(key)) return fail(std::string("no ") + key);
    if (number != 0) out = number;
    return {};
  };
  WEIR_CHECK_OK(taken("memory_bytes", limits.memory_bytes));
  WEIR_CHECK_OK(taken("cpu_millis", limits.cpu_millis));
  WEIR_CHECK_OK(taken("processes", limits.processes));
  WEIR_CHECK_OK(taken("disk_bytes", limits.disk_bytes));
  return inner.nothing_else();
}

Result<> read_spec(JsonFields& fields, sandbox::Spec& spec) {
  WEIR_CHECK_OK(fields.text("id", spec.id));
  WEIR_CHECK_OK(fields.text("hostname", spec.hostname));
  WEIR_CHECK_OK(fields.pairs("env", spec.env));
  WEIR_CHECK_OK(fields.text("workdir", spec.workdir));
  WEIR_CHECK_OK(read_user(fields, spec.user));
  WEIR_CHECK_OK(read_shares(fields, spec.shares));
  WEIR_CHECK_OK(fields.texts("tools", spec.tools));
  WEIR_CHECK_OK(take(fields, "network", kNetwork, spec.network));
  WEIR_CHECK_OK(fields.truth("published", spec.published));
  WEIR_CHECK_OK(read_addresses(fields, spec.addresses));
  spec.lives_on = true;
  return read_limits(fields, spec.limits);
}

Result<> read_run(JsonFields& fields, RunOptions& run) {
  for (const auto& [key, out] : {std::pair<const char*, std::string*>("snapshots_folder", &run.snapshots_folder),
                                 {"parent", &run.begun_from.parent},
                                 {"image", &run.begun_from.base.image},
                                 {"image_digest", &run.begun_from.base.digest},
                                 {"image_created", &run.begun_from.base.created},
                                 {"taint", &run.begun_from.taint},
                                 {"policy_mode", &run.policy_mode},
                                 {"policy_hash", &run.policy_hash},
                                 {"floor_hash", &run.floor_hash},
                                 {"control_path", &run.control_path},
                                 {"events_path", &run.events.path},
                                 {"run_name", &run.name}}) {
    WEIR_CHECK_OK(fields.text(key, *out));
  }
  WEIR_CHECK_OK(fields.texts("sensitive", run.sensitive));
  WEIR_CHECK_OK(take(fields, "events", kEvents, run.events.kind));
  WEIR_CHECK_OK(take(fields, "verbosity", kVerbosity, run.verbosity));
  std::uint64_t grace = 0;
  bool has_after = false;
  WEIR_CHECK_OK(fields.number("grace_ms", grace, 0, 1'000'000'000));
  run.grace = std::chrono::milliseconds(grace);
  WEIR_CHECK_OK(fields.number("generation", run.stage.generation, 1));
  for (const auto& [key, out] : {std::pair("has_after", &has_after), {"entered_after", &run.stage.entered_after}}) {
    WEIR_CHECK_OK(fields.truth(key, *out));
  }
  if (has_after) run.after.emplace();
  return {};
}

Result<> read_life(JsonFields& fields, SessionOptions& options) {
  WEIR_CHECK_OK(fields.text("name", options.name));
  WEIR_CHECK_OK(fields.pairs("labels", options.labels));
  std::uint64_t idle = 0;
  WEIR_CHECK_OK(fields.number("idle_ms", idle, 1, std::uint64_t{1} << 53));
  if (idle == 0) return fail("no idle_ms");
  options.idle = std::chrono::milliseconds(idle);
  options.on_idle = SessionOptions::OnIdle::snapshot;
  WEIR_CHECK_OK(fields.text("bootstrap", options.bootstrap));
  WEIR_CHECK_OK(take(fields, "restart", kRestart, options.restart));
  WEIR_CHECK_OK(fields.texts("tool_sources", options.tool_sources));
  WEIR_CHECK_OK(fields.number("layers_below", options.layers_below, 0, image::kMaxSnapshotLayers));
  Slept slept;
  WEIR_CHECK_OK(fields.text("snapshot", slept.snapshot));
  if (!image::is_snapshot_id(slept.snapshot)) return fail("no snapshot");
  WEIR_CHECK_OK(fields.text("created", slept.created));
  WEIR_CHECK_OK(fields.number("expires_at", slept.expires_at));
  WEIR_CHECK_OK(fields.number("sequence", slept.sequence));
  options.slept = std::move(slept);
  return {};
}

}  // namespace

Result<std::string> sleep_plan_text(const SessionOptions& options, const SleepStage& stage) {
  const Slept& slept = stage.slept;
  Plan plan;
  plan.json().begin_object();
  plan.number("v", kVersion).text("name", options.name).pairs("labels", options.labels);
  plan.number("idle_ms", options.idle ? static_cast<std::uint64_t>(options.idle->count()) : 0);
  plan.text("bootstrap", options.bootstrap).text("restart", text_of(kRestart, options.restart));
  plan.texts("tool_sources", options.tool_sources).number("layers_below", options.layers_below);
  plan.text("snapshot", slept.snapshot).text("created", slept.created).number("expires_at", slept.expires_at);
  plan.number("sequence", slept.sequence);
  write_spec(plan, options.run.spec, slept.disk_bytes);
  write_run(plan, options.run, stage);
  plan.json().end_object();
  return plan.take();
}

Result<SessionOptions> parse_sleep_plan(std::string_view text) {
  const auto damaged = [](const Error& error) {
    return std::unexpected(Error("what the session left for its waking is damaged: " + error.what()));
  };
  if (text.size() > kMaxSleepPlan) return damaged(Error("too large"));
  const auto document = parse_json(text);
  if (!document || !document->is_object()) return damaged(Error("no JSON object"));
  JsonFields fields(*document);
  SessionOptions options;
  std::uint64_t version = 0;
  const auto read = [&]() -> Result<> {
    for (const char* key : kKeys) {
      if (!fields.has(key)) return fail(std::string("no ") + key);
    }
    WEIR_CHECK_OK(fields.number("v", version));
    if (version != kVersion) return fail("another version of weir made it");
    WEIR_CHECK_OK(read_life(fields, options));
    WEIR_CHECK_OK(read_spec(fields, options.run.spec));
    WEIR_CHECK_OK(read_run(fields, options.run));
    return fields.nothing_else();
  };
  if (auto whole = read(); !whole) return damaged(whole.error());
  options.slept->disk_bytes = options.run.spec.limits.disk_bytes;
  return options;
}

// An image must have the layer of a session, and this is the only one of this.
Result<std::vector<std::uint8_t>> image_of_after(const policy::Narrowing& after) {
  policy::ImageSource source;
  source.layers.push_back(after.layer);
  source.layers.back().layer = policy::Layer::session;
  source.limits = after.limits;
  source.written_limits = after.written_limits;
  return policy::build_image(source);
}

Result<policy::Narrowing> after_of_image(Bytes bytes) {
  WEIR_TRY(const policy::Image image, policy::Image::open(bytes));
  WEIR_CHECK_OK(image.check_sums());
  WEIR_TRY(policy::ImageSource source, policy::read_back(image, "[after]"));
  if (source.layers.size() != 1) return fail("[after] has more than one layer");
  policy::Narrowing after{
      .layer = std::move(source.layers.front()), .limits = source.limits, .written_limits = source.written_limits};
  after.layer.layer = policy::Layer::run;
  return after;
}

}  // namespace weir::supervisor
