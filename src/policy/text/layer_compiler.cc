#include "policy/text/layer_compiler.h"

#include "policy/text/layer_lists.h"
#include "policy/text/target.h"

namespace weir::policy {

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

void narrow_limits(const PolicyText& text, Mode mode, ImageSource& source) {
  Limits limits = Limits::defaults_of(mode);
  for (std::size_t i = 0; i < kLimitCount; ++i) {
    if (!text.limits[i]) continue;
    limits.values[i] = *text.limits[i];
    source.written_limits |= 1u << i;
  }
  source.limits.narrow(limits);
}

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
    source_.mode = text_.publishes.empty() ? Mode::none : Mode::inbound;
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
      if (!text_.publishes.empty()) {
        return std::unexpected(Error("mode host has no published ports: what the command listens on is the host's own")
                                   .with_remedy("leave -p out, or write -n open"));
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

void LayerCompiler::keep_compiled(Step step, Kind kind) {
  if (!text_.compiled) return;
  for (const Entry& entry : text_.compiled->entries) {
    if (entry.step == step && entry.listed.has_value() == (kind == Kind::list)) keep(entry);
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
  keep_compiled(Step::deny, Kind::written);
  for (const WrittenTarget& each : text_.deny) {
    WEIR_CHECK_OK(add_written(each, Action::deny, Step::deny, Ech::refused));
  }
  WEIR_CHECK_OK(add_flags(flags_.deny, Action::deny));
  // Lists last, whether compiled before or not: the same entry decides as if all had been written in one file.
  keep_compiled(Step::deny, Kind::list);
  WEIR_CHECK_OK(add_lists());
  keep_compiled(Step::rules, Kind::written);
  for (const WrittenRule& rule : text_.rules) {
    for (const WrittenTarget& each : rule.to) {
      WEIR_CHECK_OK(add_written(each, rule.action, Step::rules, rule.ech));
    }
  }
  keep_compiled(Step::allow, Kind::written);
  if (text_.allow) {
    for (const WrittenTarget& each : *text_.allow) {
      WEIR_CHECK_OK(add_written(each, Action::allow, Step::allow, Ech::refused));
    }
  }
  WEIR_CHECK_OK(add_flags(flags_.allow, Action::allow));
  return std::move(source_);
}

}  // namespace weir::policy
