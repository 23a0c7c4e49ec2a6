#include "policy/text/compile.h"

#include <algorithm>
#include <array>

#include "base/spelling.h"
#include "policy/compiled/hash.h"
#include "policy/text/compiled_file.h"
#include "policy/text/egress.h"
#include "policy/text/layer_compiler.h"
#include "policy/text/narrow.h"
#include "policy/text/publishes.h"
#include "policy/text/widen.h"

namespace weir::policy {

namespace {

std::string hex(std::uint64_t value) {
  const auto digits = hex_digits(value);
  return {digits.begin(), digits.end()};
}

Result<PolicyText> read_text(const std::optional<TextFile>& file, FileKind kind) {
  if (!file) return PolicyText{};
  return parse_policy(file->text, file->name, kind);
}

class PolicyCompiler {
 public:
  explicit PolicyCompiler(const CompileInput& input) : input_(input) {}

  Result<Compiled> run();

 private:
  Result<> add_floor();
  Result<> add_layer(Layer layer, const PolicyFlags& flags);
  void keep_tables(const PolicyText& text, Mode mode);
  void note_insisted(const Insisted& insisted);
  void note_mode();
  void keep_upstreams();
  Result<> keep_egress(Layer layer, const PolicyFlags& flags, const PolicyText& text);
  Result<PolicyText> read_layer(const PolicyFlags& flags, Insisted& insisted);
  Result<> run_as_compiled();
  Result<> finish();
  Result<> keep_after(const PolicyFlags& flags, const PolicyText& text);
  Result<> add_after();

  const CompileInput& input_;
  Compiled out_;
  std::shared_ptr<const PolicyText> after_;  // what waits for the whole around it
  Position after_at_;
};

Result<> PolicyCompiler::add_floor() {
  if (!input_.floor) return {};
  WEIR_TRY(const PolicyText text, read_text(input_.floor, FileKind::floor));
  const PolicyFlags no_flags;  // the compiler keeps a reference
  LayerCompiler compiler(Layer::floor, text, no_flags, input_, out_);
  WEIR_TRY(LayerSource source, compiler.run({}));
  out_.source.layers.push_back(std::move(source));
  out_.source.self_addresses = text.self_addresses;
  out_.source.nat64_prefixes = text.nat64_prefixes;
  out_.floor_hash = hex(hash_bytes(as_bytes(input_.floor->text)));
  return {};
}

// Name servers and published ports are those of the innermost layer that has any.
void PolicyCompiler::keep_tables(const PolicyText& text, Mode mode) {
  narrow_limits(text, mode, out_.source);
  if (!text.dns_upstreams.empty()) out_.source.dns_upstreams = text.dns_upstreams;
  if (!text.publishes.empty()) out_.source.publishes = text.publishes;
}

void PolicyCompiler::note_insisted(const Insisted& insisted) {
  for (const std::string& each : insisted.broad) {
    out_.notices.push_back("insisted: '" + each + "' reaches names of many owners");
  }
  for (const net::IpAddress& each : insisted.floor) {
    out_.notices.push_back("insisted: " + each.text() + " is lifted out of the hard floor");
  }
}

Result<> PolicyCompiler::add_layer(Layer layer, const PolicyFlags& flags) {
  WEIR_TRY(Insisted insisted, parse_insist(flags.insist));
  WEIR_TRY(PolicyText text, read_layer(flags, insisted));
  WEIR_CHECK_OK(keep_after(flags, text));
  WEIR_CHECK_OK(add_publishes(flags.publish, text.publishes));
  if (layer == Layer::run && !all_published(text.publishes, out_.source.publishes))
    return cannot_widen("a run publishes only what its session publishes");
  LayerCompiler compiler(layer, text, flags, input_, out_);
  WEIR_TRY(LayerSource source, compiler.run(insisted));
  keep_tables(text, source.mode);
  out_.mode = source.mode;
  WEIR_CHECK_OK(keep_egress(layer, flags, text));
  note_insisted(insisted);
  note_wide(text.publishes, out_.notices);
  if (layer == Layer::run) {
    if (!insisted.floor.empty()) return cannot_widen("a run cannot lift the floor of its session");
    WEIR_TRY(const std::vector<std::uint8_t> session, build_image(out_.source));
    WEIR_TRY(const Image image, Image::open(session));
    WEIR_CHECK_OK(check_narrower(image, out_.source, source, out_.warnings));
  }
  out_.source.lifted.insert(out_.source.lifted.end(), insisted.floor.begin(), insisted.floor.end());
  out_.source.layers.push_back(std::move(source));
  return {};
}

// How everything goes out is not a run's to say: what it may reach would be another network.
Result<> PolicyCompiler::keep_egress(Layer layer, const PolicyFlags& flags, const PolicyText& text) {
  WEIR_TRY(std::vector<EgressProxy> proxies, egress_of(flags, text, out_.notices));
  if (layer == Layer::run && !proxies.empty() && proxies != out_.source.egress_proxies)
    return cannot_widen("a run goes out through the upstream proxy of its session, or through none as that does");
  if (!proxies.empty()) out_.source.egress_proxies = std::move(proxies);
  if (out_.mode == Mode::host && !out_.source.egress_proxies.empty()) {
    return std::unexpected(Error("mode host has no gateway, so nothing is sent through an upstream proxy")
                               .with_remedy("write -n open to keep the gateway"));
  }
  return {};
}

// A layer's file, whatever it is. What a compiled one insisted on holds still.
Result<PolicyText> PolicyCompiler::read_layer(const PolicyFlags& flags, Insisted& insisted) {
  if (!flags.compiled) return read_text(flags.file, FileKind::policy);
  WEIR_TRY(const Image image, open_compiled(*flags.compiled));
  WEIR_TRY(PolicyText text, text_of_compiled(image, flags.compiled->name));
  for (const Entry& entry : text.compiled->entries) add_broad(entry, insisted.broad);
  std::ranges::copy(image.lifted(), std::back_inserter(insisted.floor));
  return text;
}

// A compiled policy with nothing but the operator's floor around it stays as it is: its names are not looked at.
Result<> PolicyCompiler::run_as_compiled() {
  WEIR_TRY(const Image image, open_compiled(*input_.session.compiled));
  Insisted insisted{.broad = {}, .floor = {image.lifted().begin(), image.lifted().end()}};
  out_.mode = image.mode();
  WEIR_TRY(const std::vector<Entry> noteworthy, in_context(noteworthy_entries(image), input_.session.compiled->name));
  for (const Entry& entry : noteworthy) {
    add_broad(entry, insisted.broad);
    if (out_.mode != Mode::open) note_opened(entry, out_);
  }
  note_insisted(insisted);
  note_mode();
  note_wide({image.publishes().begin(), image.publishes().end()}, out_.notices);
  out_.source.limits = image.limits();
  out_.source.written_limits = image.written_limits();
  out_.source.dns_upstreams.assign(image.dns_upstreams().begin(), image.dns_upstreams().end());
  out_.source.publishes.assign(image.publishes().begin(), image.publishes().end());
  out_.source.egress_proxies.assign(image.egress_proxies().begin(), image.egress_proxies().end());
  keep_upstreams();
  out_.patch.emplace();
  out_.hash = image.hash();
  if (out_.source.layers.empty()) return {};
  WEIR_TRY(out_.patch, graft_floor(image, out_.source));
  out_.hash = hash_of(*out_.patch);
  out_.source.layers.clear();
  return {};
}

void PolicyCompiler::note_mode() {
  if (out_.mode == Mode::open) {
    out_.notices.emplace_back("mode open: private networks and the services of this machine can be reached");
  }
}

void PolicyCompiler::keep_upstreams() {
  note_egress(out_.source, out_.mode, out_.notices);
  if (!out_.source.egress_proxies.empty()) return;
  for (const DnsUpstream& each : out_.source.dns_upstreams) {
    if (each.transport == DnsUpstream::Transport::plain) out_.upstreams.push_back(each.endpoint);
  }
}

Result<> PolicyCompiler::finish() {
  note_mode();
  keep_upstreams();
  if (out_.mode == Mode::host) {
    out_.hash = hash_of(out_.mode);
    return {};
  }
  WEIR_TRY(out_.image, build_image(out_.source));
  WEIR_TRY(const Image image, Image::open(out_.image));
  out_.hash = image.hash();
  return {};
}

Result<> PolicyCompiler::keep_after(const PolicyFlags& flags, const PolicyText& text) {
  if (!text.after && flags.after.empty()) return {};
  if (after_) return fail("only one policy of a sandbox can have an [after] section");
  if (text.after && !flags.after.empty()) {
    return std::unexpected(Error("--after " + flags.after + ": " + place_text(text.file, text.after_at) +
                                 "the policy has an [after] section already")
                               .with_remedy("leave one of them out"));
  }
  after_ = text.after ? text.after : std::make_shared<const PolicyText>();
  after_at_ = text.after_at;
  return {};
}

// Of what the other layers have become together.
Result<> PolicyCompiler::add_after() {
  if (!after_) return {};
  const std::string place = after_at_.line == 0 ? "--after" : place_text(after_->file, after_at_) + "[after]";
  if (out_.mode == Mode::host) {
    return in_context(Result<>(cannot_widen("mode host has no gateway that could close it")), place);
  }
  WEIR_TRY(const Image outer, Image::open(out_.image));
  const std::string& mode = input_.session.after;
  WEIR_TRY(out_.after, in_context(compile_after(*after_, mode, outer, out_.warnings), place));
  return {};
}

Result<Compiled> PolicyCompiler::run() {
  WEIR_CHECK_OK(add_floor());
  const bool as_compiled = input_.session.compiled && input_.session.adds_nothing() && !input_.run &&
                           input_.purpose == CompileInput::Purpose::running;
  if (as_compiled) {
    WEIR_CHECK_OK(run_as_compiled());
    return std::move(out_);
  }
  WEIR_CHECK_OK(add_layer(Layer::session, input_.session));
  if (input_.run) WEIR_CHECK_OK(add_layer(Layer::run, *input_.run));
  WEIR_CHECK_OK(finish());
  WEIR_CHECK_OK(add_after());
  return std::move(out_);
}

}  // namespace

Result<Compiled> compile_policy(const CompileInput& input) {
  return PolicyCompiler(input).run();
}

std::string hash_of(Mode mode) {
  return hex(hash_bytes(as_bytes(name_of(mode))));
}

}  // namespace weir::policy
