#include "policy/text/widen.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "policy/compiled/judge.h"
#include "policy/text/compile.h"
#include "policy/text/mode.h"
#include "policy/text/target.h"

namespace weir::policy {

namespace {

constexpr std::string_view kCannotWiden = "cannot_widen";

// Asks the outer layers about samples of a target: one port of every stretch between the port bounds of the policy, one
// address of every stretch between its CIDRs and the blocks of the tables.
class Sampler {
 public:
  Sampler(const Image& image, const ImageSource& outer) : image_(image), outer_(outer) {}

  enum class Reach : std::uint8_t { none, part, all };

  Reach ask(const Target& target) {
    collect_ports(target);
    switch (target.kind) {
      case Target::Kind::name:
        ask_name(target);
        break;
      case Target::Kind::cidr:
        ask_cidr(target);
        break;
      case Target::Kind::address_class:
        ask_class(target);
        break;
    }
    if (allowed_ == 0) return Reach::none;
    return refused_ == 0 ? Reach::all : Reach::part;
  }

 private:
  template <class Visit>
  void for_outer_targets(Visit visit) const {
    for (const LayerSource& layer : outer_.layers) {
      for (const Entry& entry : layer.entries) {
        for (const Target& target : entry.targets) visit(target);
      }
    }
  }

  void collect_ports(const Target& target) {
    std::set<net::Port> bounds = {1, 80, 443};
    for (const net::PortRange& range : target.ports) bounds.insert({range.first, range.last});
    for_outer_targets([&](const Target& outer) {
      for (const net::PortRange& range : outer.ports) {
        bounds.insert(range.first);
        if (range.last < 65535) bounds.insert(static_cast<net::Port>(range.last + 1));
      }
    });
    for (const net::Port port : bounds) {
      const auto holds = [port](const net::PortRange& range) { return range.contains(port); };
      if (target.ports.empty() || std::ranges::any_of(target.ports, holds)) ports_.push_back(port);
    }
  }

  void ask_place(const Target& target, const Place& place, const NameCandidate* candidate) {
    if (place.standing.hard) return;
    const Destination destination{.outer = place, .inner = {}};
    const auto note = [&](net::Protocol protocol, net::Port port) {
      const Question question{.protocol = protocol, .port = port, .candidate = candidate};
      const bool allowed = judge_candidate(image_, facts_, destination, question).allowed;
      ++(allowed ? allowed_ : refused_);
    };
    for (const net::Protocol protocol : {net::Protocol::tcp, net::Protocol::udp}) {
      if (!target.protocols.has(protocol)) continue;
      for (const net::Port port : ports_) note(protocol, port);
    }
    if (target.protocols.has(net::Protocol::icmp) && target.ports.empty()) note(net::Protocol::icmp, 0);
  }

  // A name leads to addresses that nobody knows yet: take one that is public and in no CIDR but the widest.
  void ask_candidate(const Target& target, std::string_view name) {
    const auto parsed = net::DomainName::parse(name);
    if (!parsed) return;
    const NameCandidate candidate{.name = &*parsed, .aliases = {}};
    if (name == kHostService) {
      return ask_place(target, {net::IpAddress::v4({127, 0, 0, 1}), {{AddressClass::loopback}, false}}, &candidate);
    }
    ask_place(target, {net::IpAddress(), {{AddressClass::publicly}, false}}, &candidate);
  }

  void ask_name(const Target& target) {
    if (target.scope != NameScope::below) ask_candidate(target, target.name);
    if (target.scope == NameScope::exact) return;
    const std::string dot = target.name.empty() ? "" : ".";
    ask_candidate(target, "weir-probe-of-a-name-below" + dot + target.name);
    for_outer_targets([&](const Target& outer) {
      const std::string& name = outer.name;
      const bool below = name.size() > target.name.size() + dot.size() && name.ends_with(dot + target.name);
      if (outer.kind == Target::Kind::name && below) ask_candidate(target, name);
    });
  }

  void ask_address(const Target& target, const net::IpAddress& address) {
    if (target.cidr.contains(address)) {
      ask_place(target, {address, look_at(image_, facts_, address).outer.standing}, nullptr);
    }
  }

  static net::IpAddress after(const net::Cidr& cidr) {
    auto bytes = cidr.last().bytes();
    for (std::size_t i = bytes.size(); i-- > 0;) {
      if (++bytes[i] != 0) break;
    }
    return net::IpAddress::v6(bytes);
  }

  void ask_cidr(const Target& target) {
    std::set<net::IpAddress> samples = {target.cidr.base()};
    const auto add = [&](const net::Cidr& cidr) { samples.insert({cidr.base(), after(cidr)}); };
    for (const AddressBlock& block : address_blocks()) add(block.cidr);
    for_outer_targets([&](const Target& outer) {
      if (outer.kind == Target::Kind::cidr) add(outer.cidr);
    });
    for (const net::IpAddress& address : samples) ask_address(target, address);
  }

  void ask_class(const Target& target) {
    const AddressClass asked =
        target.address_class == AddressClass::any ? AddressClass::publicly : target.address_class;
    ask_place(target, {net::IpAddress(), {{asked}, false}}, nullptr);
    for_outer_targets([&](const Target& outer) {
      if (outer.kind != Target::Kind::cidr) return;
      const Standing standing = look_at(image_, facts_, outer.cidr.base()).outer.standing;
      if (standing.classes.has(asked)) ask_place(target, {outer.cidr.base(), standing}, nullptr);
    });
  }

  const Image& image_;
  const ImageSource& outer_;
  const HostFacts facts_;
  std::vector<net::Port> ports_;
  std::size_t allowed_ = 0;
  std::size_t refused_ = 0;
};

Result<> check_mode(const ImageSource& outer, const LayerSource& run) {
  const Mode session = outer.layers.back().mode;
  if (width_of(run.mode) <= width_of(session)) return {};
  return cannot_widen("the run wants mode " + std::string(name_of(run.mode)) + ", its session has " +
                      std::string(name_of(session)));
}

}  // namespace

std::unexpected<Error> cannot_widen(const std::string& why) {
  return std::unexpected(Error(std::string(kCannotWiden) + ": " + why, EPERM)
                             .with_remedy("ask for less, or start a session that allows it"));
}

bool is_cannot_widen(const Error& error) {
  return error.code() == EPERM;
}

Result<> check_narrower(const Image& image, const ImageSource& outer, const LayerSource& run,
                        std::vector<std::string>& warnings) {
  WEIR_CHECK_OK(check_mode(outer, run));
  if (run.mode == Mode::host) return {};
  for (const Entry& entry : run.entries) {
    if (entry.action != Action::allow) continue;
    bool some = false;
    bool all = true;
    for (const Target& target : entry.targets) {
      const auto reach = Sampler(image, outer).ask(target);
      some = some || reach != Sampler::Reach::none;
      all = all && reach == Sampler::Reach::all;
    }
    if (!some) return cannot_widen("the session refuses '" + entry.text + "' entirely");
    if (!all) warnings.push_back("the session allows only a part of '" + entry.text + "'");
  }
  return {};
}

}  // namespace weir::policy
