#include "policy/text/lint.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_set>

#include "policy/text/broad.h"
#include "policy/text/sets.h"
#include "policy/text/target.h"

namespace weir::policy {

namespace {

// Comparing every target with every other one is quadratic; a longer layer is a list of a machine, not of an author.
constexpr std::size_t kMaxCompared = 4096;

// Of findings with one code; a policy of a hundred thousand denials has one about each.
constexpr std::size_t kMaxShownAlike = 10;

// Parents of names that a platform hands out to every customer, though the parent itself is no public suffix.
constexpr auto kSharedParents = std::to_array<std::string_view>(
    {"amazonaws.com", "googleapis.com", "googleusercontent.com", "windows.net", "azure.com", "cloudfront.net",
     "akamaized.net", "fastly.net", "cloudflarestorage.com", "digitaloceanspaces.com", "herokuapp.com"});

bool is_at_or_below(std::string_view name, std::string_view parent) {
  if (parent.empty() || name == parent) return true;
  return name.size() > parent.size() && name.ends_with(parent) && name[name.size() - parent.size() - 1] == '.';
}

bool covers_ports(const Target& outer, const Target& inner) {
  if (outer.ports.empty()) return true;
  if (inner.ports.empty()) return false;
  return std::ranges::all_of(inner.ports, [&](const net::PortRange& range) {
    return std::ranges::any_of(
        outer.ports, [&](const net::PortRange& wide) { return wide.first <= range.first && range.last <= wide.last; });
  });
}

bool covers_name(const Target& outer, const Target& inner) {
  if (outer.scope == NameScope::exact) return inner.scope == NameScope::exact && inner.name == outer.name;
  if (!is_at_or_below(inner.name, outer.name)) return false;
  // "*.x" covers x's own name never, and what is below x always.
  if (inner.name == outer.name && outer.scope == NameScope::below) return inner.scope == NameScope::below;
  return true;
}

// Does everything that matches `inner` match `outer` too?
bool covers(const Target& outer, const Target& inner) {
  if ((outer.protocols.bits() & inner.protocols.bits()) != inner.protocols.bits()) return false;
  if (!covers_ports(outer, inner)) return false;
  if (outer.kind == Target::Kind::address_class && outer.address_class == AddressClass::any) return true;
  if (outer.kind != inner.kind) return false;
  switch (outer.kind) {
    case Target::Kind::name:
      return covers_name(outer, inner);
    case Target::Kind::cidr:
      return outer.cidr.contains(inner.cidr);
    case Target::Kind::address_class:
      return outer.address_class == inner.address_class;
  }
  return false;
}

class Linter {
 public:
  explicit Linter(const LayerSource& layer) : layer_(layer) {}

  std::vector<LintFinding> run() {
    check_shadows();
    note_apexes();
    for (const Entry& entry : layer_.entries) {
      check_set(entry);
      if (entry.listed) check_unbound(entry, "names, not their");
      for (const Target& target : entry.targets) {
        if (target.kind == Target::Kind::name) check_name(entry, target);
        if (target.kind == Target::Kind::cidr) check_cidr(entry, target);
      }
    }
    note_repeats();
    return std::move(findings_);
  }

 private:
  void find(const Entry& entry, const std::string& code, std::string message) {
    if (++counts_[code] > kMaxShownAlike) return;
    findings_.push_back({.place = entry.place, .code = code, .message = std::move(message)});
  }

  void note_repeats() {
    for (const auto& [code, count] : counts_) {
      if (count <= kMaxShownAlike) continue;
      findings_.push_back({.place = {},
                           .code = code,
                           .message = "and " + std::to_string(count - kMaxShownAlike) + " more like the " +
                                      std::to_string(kMaxShownAlike) + " above"});
    }
  }

  // The names that entries mention themselves, by what the entry does.
  void note_apexes() {
    for (const Entry& entry : layer_.entries) {
      for (const Target& target : entry.targets) {
        if (target.kind != Target::Kind::name || target.scope == NameScope::below) continue;
        apexes_[static_cast<std::size_t>(entry.action)].insert(target.name);
      }
    }
  }

  const Entry* shadow_of(std::size_t index) const {
    const Entry& entry = layer_.entries[index];
    for (std::size_t i = 0; i < index; ++i) {
      const Entry& before = layer_.entries[i];
      const bool all = std::ranges::all_of(entry.targets, [&](const Target& inner) {
        return std::ranges::any_of(before.targets, [&](const Target& outer) { return covers(outer, inner); });
      });
      // An address that opens the soft floor says more than a wider one that does not.
      const bool opens = std::ranges::any_of(entry.targets, [&](const Target& target) {
        return entry.action == Action::allow && before.action == Action::allow && target.kind == Target::Kind::cidr &&
               soft_range_around(target.cidr).has_value();
      });
      if (all && !opens && !entry.targets.empty()) return &before;
    }
    return nullptr;
  }

  void check_shadows() {
    std::size_t targets = 0;
    for (std::size_t i = 0; i < layer_.entries.size(); ++i) {
      const Entry& entry = layer_.entries[i];
      targets += entry.targets.size();
      if (targets > kMaxCompared) return;
      const Entry* const before = shadow_of(i);
      if (before == nullptr) continue;
      const std::string what = before->action == entry.action ? "' says nothing new: '" : "' never holds: '";
      find(entry, "shadowed", "'" + entry.text + what + before->text + "' comes first and covers it");
    }
  }

  void check_set(const Entry& entry) {
    const std::string_view word = std::string_view(entry.text).substr(0, entry.text.find(':'));
    if (!word.starts_with('@') || entry.action == Action::deny) return;
    const HostSet* const set = find_host_set(word.substr(1));
    if (set == nullptr || set->uploads == Uploads::no) return;
    find(entry, "uploads", "anyone with an account can receive data at hosts of '" + std::string(word) + "'");
  }

  void check_name(const Entry& entry, const Target& target) {
    const bool from_set = entry.text.starts_with('@');
    if (target.scope == NameScope::below && !target.name.empty() && !from_set) check_apex(entry, target);
    if (entry.action == Action::deny) return check_unbound(entry, "name, not its");
    if (target.breadth == Breadth::broad) {
      find(entry, "broad", "'" + entry.text + "' reaches names of many owners");
    } else if (target.scope != NameScope::exact &&
               std::ranges::find(kSharedParents, target.name) != kSharedParents.end()) {
      find(entry, "platform", "below '" + target.name + "' every customer of a platform can have names");
    } else if (target.scope == NameScope::exact && target.name.find('.') != std::string::npos &&
               suffix_kind(target.name) == SuffixKind::platform) {
      find(entry, "platform",
           "'" + target.name + "' is a suffix under which anyone can publish; it may redirect there");
    }
  }

  void check_apex(const Entry& entry, const Target& target) {
    const bool apex_named = apexes_[static_cast<std::size_t>(entry.action)].contains(target.name);
    if (apex_named) return;
    find(entry, "apex",
         "'" + entry.text + "' does not include " + target.name + " itself; '." + target.name + "' would");
  }

  // Without a name in the stream only addresses can be denied.
  void check_unbound(const Entry& entry, const std::string& what) {
    const bool by_default =
        layer_.mode == Mode::open || layer_.mode == Mode::publicly || layer_.mode == Mode::semitrusted;
    if (!by_default || layer_.name_need == NameNeed::required) return;
    find(entry, "unbound-deny",
         "'" + entry.text + "' denies the " + what +
             " addresses: a connection to one of them that carries no readable "
             "name passes in mode " +
             std::string(name_of(layer_.mode)) + "; require_name = true closes that");
  }

  void check_cidr(const Entry& entry, const Target& target) {
    if (entry.action == Action::deny) return check_overlap(entry, target);
    const bool port53 = std::ranges::find(target.ports, net::PortRange{53, 53}) != target.ports.end();
    if (target.cidr.is_single() && port53) {
      find(entry, "dns-tunnel", "'" + entry.text + "' opens a DNS tunnel: questions to it pass weir's resolver by");
    }
    if (target.cidr.length() == 0) {
      find(entry, "public-part",
           "'" + entry.text + "' opens only its public part; private ranges are named on purpose");
    }
  }

  void check_overlap(const Entry& entry, const Target& target) {
    if (layer_.entries.size() > kMaxCompared) return;
    for (const Entry& other : layer_.entries) {
      if (other.action != Action::allow) continue;
      for (const Target& each : other.targets) {
        if (each.kind != Target::Kind::cidr || !each.cidr.overlaps(target.cidr) || covers(target, each)) continue;
        find(entry, "overlap",
             "'" + entry.text + "' and the allowed '" + other.text + "' share addresses; the " +
                 (entry.step == Step::deny ? "denial wins" : "first rule wins"));
        return;
      }
    }
  }

  const LayerSource& layer_;
  std::map<std::string, std::size_t> counts_;  // by code
  std::array<std::unordered_set<std::string_view>, 2> apexes_;
  std::vector<LintFinding> findings_;
};

}  // namespace

std::vector<LintFinding> lint(const Compiled& compiled) {
  std::vector<LintFinding> findings;
  for (const LayerSource& layer : compiled.source.layers) {
    std::vector<LintFinding> more = Linter(layer).run();
    findings.insert(findings.end(), more.begin(), more.end());
  }
  return findings;
}

}  // namespace weir::policy
