#include "policy/text/learn.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/json.h"
#include "net/domain_name.h"
#include "policy/compiled/address_class.h"
#include "policy/compiled/own_names.h"
#include "policy/text/sets.h"
#include "policy/text/target.h"

namespace weir::policy {

namespace {

// Names that a set must have been used by before it stands for them: one name alone is smaller than any set.
constexpr std::size_t kFewestOfSet = 2;
// Names without a connection that are told; a guest can ask for any number.
constexpr std::size_t kMaxAsked = 64;

struct Use {
  std::uint64_t flows = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;

  void add(const UsedDestination& used) {
    flows += used.flows;
    bytes_up += used.bytes_up;
    bytes_down += used.bytes_down;
  }
};

// What entries are made of. `host` is a canonical name, or an address in the form of a target.
struct Key {
  std::string proto;
  std::string host;
  friend auto operator<=>(const Key&, const Key&) = default;
};

struct Used {
  std::set<net::Port> ports;
  Use use;
  std::string about;  // a remark of its own
};

std::string count_text(std::uint64_t count, std::string_view one, std::string_view many) {
  return std::to_string(count) + " " + std::string(count == 1 ? one : many);
}

std::string use_text(const Use& use) {
  return count_text(use.flows, "flow", "flows") + ", " + count_text(use.bytes_up, "byte", "bytes") + " up, " +
         count_text(use.bytes_down, "byte", "bytes") + " down";
}

std::string ports_text(const std::set<net::Port>& ports) {
  std::string text;
  for (const net::Port port : ports) text += (text.empty() ? ":" : ",") + std::to_string(port);
  return text;
}

std::string host_text(const net::IpAddress& address, const std::optional<net::Port>& port) {
  return !address.is_v4() && port ? "[" + address.text() + "]" : address.text();
}

std::string target_of(const Key& key, const std::set<net::Port>& ports) {
  return key.proto + "://" + key.host + ports_text(ports);
}

// Without a protocol a name is allowed for TCP, but an address for all of them.
std::string target_of_name(const Key& key, const std::set<net::Port>& ports) {
  return key.proto == "tcp" ? key.host + ports_text(ports) : target_of(key, ports);
}

bool can_be_written(const std::string& target) {
  return parse_target(target, {.action = Action::allow, .insisted_broad = {}}).has_value();
}

bool is_covered(const HostSet& set, const std::string& name) {
  return std::ranges::any_of(set.hosts, [&name](std::string_view host) {
    if (host.starts_with("*.")) return name.size() > host.size() - 1 && name.ends_with(host.substr(1));
    if (!host.starts_with('.')) return name == host;
    return name == host.substr(1) || (name.size() > host.size() && name.ends_with(host));
  });
}

class Learner {
 public:
  explicit Learner(std::uint64_t uncounted) : uncounted_(uncounted) {}

  void add(const UsedDestination& used) {
    const bool needs_port = used.proto == "tcp" || used.proto == "udp";
    if ((!needs_port && used.proto != "icmp") || needs_port != (used.port && *used.port != 0)) return leave_out();
    if (used.name.empty()) return add_address(used, used.addresses.empty() ? nullptr : &used.addresses.front(), "");
    const auto name = net::DomainName::parse(used.name);
    if (!name) return leave_out();
    note(names_[{used.proto, name->text()}], used);
    reached_.insert(name->text());
    if (is_own_name(name->text())) return;
    // A name does not open an address that is not public (policy.md section 3).
    for (const net::IpAddress& address : used.addresses) {
      if (!static_standing(address).is_public())
        add_address(used, &address, "not public; " + name->text() + " leads there");
    }
  }

  LearnedPolicy learned(std::span<const std::string> asked) {
    recognise_sets();
    for (const auto& [key, used] : names_) write(target_of_name(key, used.ports), used, remark_of(key.host));
    for (const auto& [key, used] : addresses_) {
      write(target_of(key, used.ports), used,
            used.about.empty() ? "an address without a name: whoever has it next may answer" : used.about);
    }
    LearnedPolicy policy{.text = {}, .entries = entries_, .left_out = left_out_};
    policy.text = head() + lines_ + (entries_ == 0 ? "" : "]\n") + tail(asked);
    return policy;
  }

 private:
  void leave_out() { ++left_out_; }

  static void note(Used& entry, const UsedDestination& used) {
    if (used.port) entry.ports.insert(*used.port);
    entry.use.add(used);
  }

  void add_address(const UsedDestination& used, const net::IpAddress* address, std::string about) {
    if (address == nullptr || static_standing(*address).hard) return leave_out();
    Used& entry = addresses_[{used.proto, host_text(*address, used.port)}];
    note(entry, used);
    if (entry.about.empty()) entry.about = std::move(about);
  }

  // One that everybody can send data to is not offered in place of single names.
  void recognise_sets() {
    for (const HostSet& set : host_sets()) {
      if (set.uploads == Uploads::yes) continue;
      std::map<std::set<net::Port>, std::vector<Key>> by_ports;
      for (const auto& [key, used] : names_) {
        if (key.proto == "tcp" && is_covered(set, key.host)) by_ports[used.ports].push_back(key);
      }
      for (const auto& [ports, keys] : by_ports) {
        if (keys.size() >= kFewestOfSet) put_set(set, ports, keys);
      }
    }
  }

  void put_set(const HostSet& set, const std::set<net::Port>& ports, const std::vector<Key>& keys) {
    Used together;
    together.ports = ports;
    std::string members;
    for (const Key& key : keys) {
      const auto node = names_.extract(key);
      together.use.flows += node.mapped().use.flows;
      together.use.bytes_up += node.mapped().use.bytes_up;
      together.use.bytes_down += node.mapped().use.bytes_down;
      members += (members.empty() ? "" : ", ") + key.host;
    }
    write("@" + std::string(set.name) + ports_text(ports), together, "used: " + members);
  }

  static std::string remark_of(const std::string& name) {
    for (const HostSet& set : host_sets()) {
      if (!is_covered(set, name)) continue;
      return "one of @" + std::string(set.name) +
             (set.uploads == Uploads::yes ? ", where anyone with an account can receive data" : "");
    }
    return "";
  }

  void write(const std::string& target, const Used& used, const std::string& remark) {
    if (!can_be_written(target)) return leave_out();
    ++entries_;
    lines_ += "  " + json_string(target) + ",  # " + use_text(used.use) + (remark.empty() ? "" : "; " + remark) + "\n";
  }

  std::string head() const {
    std::string text =
        "# Learned by weir policy learn: what was used; an @set stands for all its hosts. It was not judged: read it "
        "first.\n"
        "version = 1\n";
    if (entries_ == 0) return text + "mode    = \"none\"\n";
    return text + "mode    = \"allowlist\"\nallow   = [\n";
  }

  std::string tail(std::span<const std::string> asked) const {
    std::set<std::string> idle;
    for (const std::string& text : asked) {
      const auto name = net::DomainName::parse(text);
      if (name && !reached_.contains(name->text())) idle.insert(name->text());
    }
    std::string text;
    if (left_out_ != 0) {
      text += "# Left out: " + count_text(left_out_, "destination", "destinations") + " that no entry can stand for.\n";
    }
    if (uncounted_ != 0) text += "# Not whole: " + count_text(uncounted_, "attempt", "attempts") + " not told apart.\n";
    if (!idle.empty()) text += "# Asked for, and nothing was reached under that name (so not allowed):\n";
    std::size_t told = 0;
    for (const std::string& name : idle) {
      if (told++ == kMaxAsked) break;
      text += "#   " + name + "\n";
    }
    if (idle.size() > kMaxAsked) text += "#   and " + std::to_string(idle.size() - kMaxAsked) + " more\n";
    return text;
  }

  std::uint64_t uncounted_;
  std::map<Key, Used> names_;
  std::map<Key, Used> addresses_;
  std::set<std::string> reached_;  // names
  std::string lines_;
  std::size_t entries_ = 0;
  std::size_t left_out_ = 0;
};

}  // namespace

LearnedPolicy learn_policy(std::span<const UsedDestination> used, std::span<const std::string> asked,
                           std::uint64_t uncounted) {
  Learner learner(uncounted);
  for (const UsedDestination& one : used) learner.add(one);
  return learner.learned(asked);
}

}  // namespace weir::policy
