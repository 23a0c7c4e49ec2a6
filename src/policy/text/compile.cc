#include "policy/text/compile.h"

#include <algorithm>
#include <array>

#include "base/spelling.h"
#include "policy/compiled/hash.h"
#include "policy/text/compiled_file.h"
#include "policy/text/layer_lists.h"
#include "policy/text/target.h"
#include "policy/text/widen.h"

namespace weir::policy {

namespace {

// What --insist lifted. A word that nothing needed is a mistake and is said.
struct Insisted {
  std::vector<std::string> broad;
  std::vector<net::IpAddress> floor;
};

Result<Insisted> parse_insist(const std::vector<std::string>& words) {
  Insisted insisted;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string_view kind = std::string_view(word).substr(0, equals);
    const std::string_view value =
        equals == std::string::npos ? std::string_view() : std::string_view(word).substr(equals + 1);
    if (kind == "floor") {
      auto address = net::IpAddress::parse(value);
      if (!address) return fail("--insist " + word + ": " + address.error().what());
      insisted.floor.push_back(*address);
    } else if (kind == "broad") {
      // As a denial every wildcard parses: only its spelling matters here.
      auto target = parse_target(value, {.action = Action::deny, .insisted_broad = {}});
      if (!target) return std::unexpected(target.error().about(value).context("--insist " + word));
      insisted.broad.push_back(canonical_destination(target->targets.front()));
    } else {
      return std::unexpected(Error("--insist " + word + ": nothing of that name can be insisted on")
                                 .with_remedy("write broad=WILDCARD or floor=ADDRESS"));
    }
  }
  return insisted;
}

std::string hex(std::uint64_t value) {
  std::string text(16, '0');
  for (std::size_t i = text.size(); i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 0xf];
  return text;
}

// What a soft-floor target lets the sandbox reach is said at start.
void note_opened(const Entry& entry, Compiled& out) {
  if (entry.action != Action::allow) return;
  for (const Target& target : entry.targets) {
    std::string_view range;
    if (target.kind == Target::Kind::address_class) {
      const bool nothing_new =
          target.address_class == AddressClass::publicly || target.address_class == AddressClass::any;
      if (!nothing_new) range = name_of(target.address_class);
    } else if (target.kind == Target::Kind::cidr) {
      const auto soft = soft_range_around(target.cidr);
      if (soft) range = name_of(*soft);
    } else if (target.name == "host.weir.internal") {
      range = "the services of this machine";
    }
    if (range.empty()) continue;
    out.notices.push_back("'" + entry.text + "' opens " + std::string(range) + ", which is closed otherwise");
  }
}

// One layer while it is put together from its file and its flags.
class LayerCompiler {
 public:
  LayerCompiler(Layer layer, const PolicyText& text, const PolicyFlags& flags, const CompileInput& input, Compiled& out)
      : layer_(layer), text_(text), flags_(flags), input_(input), out_(out) {
    source_.layer = layer;
  }

  Result<LayerSource> run(const Insisted& insisted);

 private:
  Result<> choose_mode();
  Result<> check_mode() const;
  Result<> check_denylist(DenyNeed need) const;
  Result<> add_written(const WrittenTarget& written, Action action, Step step, Ech ech);
  Result<> add_flags(const std::vector<std::string>& lists, Action action);
  Result<> add(std::string_view text, const Entry& like, const std::string& place);
  void keep(Entry entry);
  void keep_compiled(Step step);
  Result<> add_lists();

  bool has_compiled(Step step) const {
    return text_.compiled &&
           std::ranges::find(text_.compiled->entries, step, &Entry::step) != text_.compiled->entries.end();
  }
  bool has_allow() const {
    return !flags_.allow.empty() || (text_.allow && !text_.allow->empty()) || has_compiled(Step::allow);
  }
  bool has_rules() const { return !text_.rules.empty() || has_compiled(Step::rules); }
  bool has_deny() const {
    return !flags_.deny.empty() || !text_.deny.empty() || !flags_.deny_lists.empty() || !text_.deny_lists.empty() ||
           has_compiled(Step::deny);
  }

  Layer layer_;
  const PolicyText& text_;
  const PolicyFlags& flags_;
  const CompileInput& input_;
  Compiled& out_;
  Insisted insisted_;
  LayerSource source_;
};

Result<> LayerCompiler::choose_mode() {
  DenyNeed need = DenyNeed::optional;
  if (!flags_.mode.empty()) {
    WEIR_TRY(const ModeWord word, in_context(parse_mode(flags_.mode), "-n"));
    source_.mode = word.mode;
    need = word.deny;
    if (text_.mode && text_.mode->mode != word.mode) {
      out_.notices.push_back("-n " + flags_.mode + " replaces mode \"" + text_.mode_word + "\" of " + text_.file);
    }
  } else if (text_.mode) {
    source_.mode = text_.mode->mode;
    need = text_.mode->deny;
  } else if (layer_ == Layer::floor) {
    source_.mode = text_.allow ? Mode::allowlist : Mode::open;
  } else if (has_allow() || text_.allow) {
    source_.mode = Mode::allowlist;
  } else if (has_deny() || has_rules()) {
    const std::string_view what = has_deny() ? "deny" : "rules";
    return std::unexpected(
        Error(std::string(what) + " without a mode: everything is denied already")
            .with_remedy("write -n public (or mode = \"public\") to allow the rest of the internet"));
  } else {
    source_.mode = Mode::none;
  }
  return check_denylist(need);
}

Result<> LayerCompiler::check_denylist(DenyNeed need) const {
  if (need == DenyNeed::optional || has_deny()) return {};
  return std::unexpected(
      Error("mode denylist denies nothing").with_remedy("add --deny TARGET, or write -n public if that is meant"));
}

Result<> LayerCompiler::check_mode() const {
  const std::string mode(name_of(source_.mode));
  switch (source_.mode) {
    case Mode::none:
    case Mode::inbound:
      if (has_allow() || has_rules()) {
        return std::unexpected(Error("mode " + mode + " has no way out, so nothing can be allowed in it")
                                   .with_remedy("write -n allowlist, or leave -n out"));
      }
      if (source_.mode == Mode::none && !text_.publishes.empty()) {
        return std::unexpected(
            Error("mode none has no published ports").with_remedy("write -n inbound, or leave -n out"));
      }
      return {};
    case Mode::open:
      if (layer_ != Layer::floor && has_allow()) {
        return std::unexpected(Error("mode open allows everything already, so --allow says nothing")
                                   .with_remedy("leave --allow out, or write -n allowlist to allow only that"));
      }
      return {};
    case Mode::host:
      if (layer_ == Layer::floor) return fail("mode host makes no sense in the operator's floor");
      if (has_allow() || has_deny() || has_rules()) {
        return std::unexpected(Error("mode host has no gateway, so nothing can be allowed or denied in it")
                                   .with_remedy("write -n open to keep the gateway"));
      }
      return {};
    case Mode::allowlist:
    case Mode::publicly:
    case Mode::semitrusted:
      return {};
  }
  return {};
}

Result<> LayerCompiler::add(std::string_view text, const Entry& like, const std::string& place) {
  const auto broad = layer_ == Layer::floor ? BroadTargets::accepted : BroadTargets::insisted;
  auto parsed = parse_target(text, {.action = like.action, .insisted_broad = insisted_.broad, .broad = broad});
  if (!parsed) return std::unexpected(parsed.error().about(text).context(place));
  Entry entry = like;
  entry.text = std::move(parsed->text);
  entry.place = place;
  entry.targets = std::move(parsed->targets);
  keep(std::move(entry));
  return {};
}

void LayerCompiler::keep(Entry entry) {
  for (Target& target : entry.targets) {
    const bool any = target.kind == Target::Kind::address_class && target.address_class == AddressClass::any;
    if (any && entry.action == Action::allow && source_.mode == Mode::allowlist) {
      target.address_class = AddressClass::publicly;
    }
  }
  if (layer_ != Layer::floor && source_.mode != Mode::open) note_opened(entry, out_);
  source_.entries.push_back(std::move(entry));
}

void LayerCompiler::keep_compiled(Step step) {
  if (!text_.compiled) return;
  for (const Entry& entry : text_.compiled->entries) {
    if (entry.step == step) keep(entry);
  }
}

Result<> LayerCompiler::add_lists() {
  WEIR_TRY(const std::vector<ListText> lists, read_lists(text_, flags_.deny_lists, input_.read_list));
  if (source_.listed.size() == 0) source_.listed = ListedNames(key_of(lists));
  for (const ListText& list : lists) {
    WEIR_TRY(Entry entry, add_list(list, input_.invalid_lines, source_.listed, out_.notices));
    keep(std::move(entry));
  }
  return check_list_count(source_.entries);
}

Result<> LayerCompiler::add_written(const WrittenTarget& written, Action action, Step step, Ech ech) {
  const Entry like{.action = action, .step = step, .ech = ech, .text = {}, .place = {}, .targets = {}};
  std::string place = place_text(text_.file, written.at);
  if (place.ends_with(": ")) place.resize(place.size() - 2);
  return add(written.text, like, place);
}

Result<> LayerCompiler::add_flags(const std::vector<std::string>& lists, Action action) {
  const Step step = action == Action::deny ? Step::deny : Step::allow;
  const Entry like{.action = action, .step = step, .ech = Ech::refused, .text = {}, .place = {}, .targets = {}};
  const std::string place = action == Action::deny ? "--deny" : "--allow";
  for (const std::string& list : lists) {
    auto pieces = split_targets(list);
    if (!pieces) return std::unexpected(pieces.error().about(list).context(place));
    for (const std::string_view piece : *pieces) WEIR_CHECK_OK(add(piece, like, place));
  }
  return {};
}

Result<LayerSource> LayerCompiler::run(const Insisted& insisted) {
  insisted_ = insisted;
  WEIR_CHECK_OK(choose_mode());
  WEIR_CHECK_OK(check_mode());
  source_.name_need = text_.name_need;
  source_.dns_types = text_.dns_types;
  if (text_.compiled) source_.listed = text_.compiled->listed;
  keep_compiled(Step::deny);
  for (const WrittenTarget& each : text_.deny) {
    WEIR_CHECK_OK(add_written(each, Action::deny, Step::deny, Ech::refused));
  }
  WEIR_CHECK_OK(add_flags(flags_.deny, Action::deny));
  WEIR_CHECK_OK(add_lists());
  keep_compiled(Step::rules);
  for (const WrittenRule& rule : text_.rules) {
    for (const WrittenTarget& each : rule.to) {
      WEIR_CHECK_OK(add_written(each, rule.action, Step::rules, rule.ech));
    }
  }
  keep_compiled(Step::allow);
  if (text_.allow) {
    for (const WrittenTarget& each : *text_.allow) {
      WEIR_CHECK_OK(add_written(each, Action::allow, Step::allow, Ech::refused));
    }
  }
  WEIR_CHECK_OK(add_flags(flags_.allow, Action::allow));
  return std::move(source_);
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
  Result<PolicyText> read_layer(const PolicyFlags& flags, Insisted& insisted);
  Result<> run_as_compiled();
  Result<> finish();

  const CompileInput& input_;
  Compiled out_;
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

// Limits narrow from layer to layer; name servers and published ports are those of the innermost layer that has any.
void PolicyCompiler::keep_tables(const PolicyText& text, Mode mode) {
  Limits limits = Limits::defaults_of(mode);
  for (std::size_t i = 0; i < kLimitCount; ++i) {
    if (!text.limits[i]) continue;
    limits.values[i] = *text.limits[i];
    out_.source.written_limits |= 1u << i;
  }
  out_.source.limits.narrow(limits);
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
  WEIR_TRY(const PolicyText text, read_layer(flags, insisted));
  LayerCompiler compiler(layer, text, flags, input_, out_);
  WEIR_TRY(LayerSource source, compiler.run(insisted));
  keep_tables(text, source.mode);
  note_insisted(insisted);
  if (layer == Layer::run) {
    if (!insisted.floor.empty()) return cannot_widen("a run cannot lift the floor of its session");
    WEIR_CHECK_OK(check_narrower(out_.source, source, out_.warnings));
  }
  out_.source.lifted.insert(out_.source.lifted.end(), insisted.floor.begin(), insisted.floor.end());
  out_.mode = source.mode;
  out_.source.layers.push_back(std::move(source));
  return {};
}

// A layer's file, whatever it is. What a compiled one insisted on holds still.
Result<PolicyText> PolicyCompiler::read_layer(const PolicyFlags& flags, Insisted& insisted) {
  if (!flags.compiled) return read_text(flags.file, FileKind::policy);
  WEIR_TRY(const Image image, open_compiled(*flags.compiled));
  PolicyText text = text_of_compiled(image, flags.compiled->name);
  for (const Entry& entry : text.compiled->entries) add_broad(entry, insisted.broad);
  std::ranges::copy(image.lifted(), std::back_inserter(insisted.floor));
  return text;
}

// A compiled policy with nothing but the operator's floor around it stays as it is: its names are not looked at.
Result<> PolicyCompiler::run_as_compiled() {
  WEIR_TRY(const Image image, open_compiled(*input_.session.compiled));
  Insisted insisted{.broad = {}, .floor = {image.lifted().begin(), image.lifted().end()}};
  out_.mode = image.mode();
  for (const Entry& entry : noteworthy_entries(image)) {
    add_broad(entry, insisted.broad);
    if (out_.mode != Mode::open) note_opened(entry, out_);
  }
  note_insisted(insisted);
  note_mode();
  out_.source.limits = image.limits();
  out_.source.dns_upstreams.assign(image.dns_upstreams().begin(), image.dns_upstreams().end());
  out_.source.publishes.assign(image.publishes().begin(), image.publishes().end());
  keep_upstreams();
  out_.patch.emplace();
  out_.hash = image.hash();
  if (out_.source.layers.empty()) return {};
  out_.patch = graft_floor(image, out_.source);
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
  for (const DnsUpstream& each : out_.source.dns_upstreams) {
    if (each.transport == DnsUpstream::Transport::plain) out_.upstreams.push_back(each.endpoint);
  }
}

Result<> PolicyCompiler::finish() {
  note_mode();
  keep_upstreams();
  if (out_.mode == Mode::host) {
    out_.hash = hex(hash_bytes(as_bytes(name_of(out_.mode))));
    return {};
  }
  out_.image = build_image(out_.source);
  WEIR_TRY(const Image image, Image::open(out_.image));
  out_.hash = image.hash();
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
  return std::move(out_);
}

}  // namespace

Result<Compiled> compile_policy(const CompileInput& input) {
  return PolicyCompiler(input).run();
}

}  // namespace weir::policy
