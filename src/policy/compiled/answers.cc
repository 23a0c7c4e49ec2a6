// judge_answer(): may an address be shown to the guest as an answer for a name?
#include <algorithm>

#include "policy/compiled/judge.h"

namespace weir::policy {

namespace {

// The verdict on a name and an address is constant between the bounds of the port ranges that mention either, so one
// port of each stretch stands for all of it.
class PortSamples {
 public:
  PortSamples(const Image& image, const HostFacts& facts) : image_(image) {
    add(1);
    // semitrusted admits these two; UDP 443 has a rule of its own.
    for (const net::Port port : {net::Port{80}, net::Port{443}}) add_stretch({port, port});
    for (const net::Endpoint& own : facts.own_listeners) add_stretch({own.port, own.port});
  }

  void add_postings(const Place& place, const NameCandidate& candidate) {
    for (const LayerView& layer : image_.layers()) {
      const auto note = [&](const Posting& posting) {
        for (std::uint16_t i = 0; i < posting.range_count; ++i) add_stretch(layer.range(posting, i));
      };
      layer.for_name(candidate.name->text(), note);
      for (const net::DomainName& alias : candidate.aliases) layer.for_name(alias.text(), note);
      for_place(layer, place, [&](const Posting& posting, const net::Cidr&) { note(posting); });
      for (std::uint8_t i = 0; i < kAddressClassCount; ++i) layer.for_class(static_cast<AddressClass>(i), note);
    }
  }

  const std::vector<net::Port>& sorted() {
    std::ranges::sort(ports_);
    const auto repeated = std::ranges::unique(ports_);
    ports_.erase(repeated.begin(), repeated.end());
    return ports_;
  }

 private:
  void add(net::Port port) { ports_.push_back(port); }
  void add_stretch(net::PortRange range) {
    add(range.first);
    if (range.last < 65535) add(static_cast<net::Port>(range.last + 1));
  }

  const Image& image_;
  std::vector<net::Port> ports_;
};

}  // namespace

Verdict judge_answer(const Image& image, const HostFacts& facts, const NameCandidate& candidate,
                     const net::IpAddress& address) {
#ifdef WEIR_ADMIT_ALL
  return {.allowed = true, .reason = Reason::none, .rule = {}, .hold_first_flight = false};
#endif
  const Destination destination = look_at(image, facts, address);
  Outcome last;
  last.reason = Reason::floor;
  last.rule = {.layer = Layer::floor};
  const auto survives = [&](net::Protocol protocol, net::Port port) {
    if (is_own_listener(image, facts, destination, {.address = address, .port = port})) return false;
    const Question question{.protocol = protocol, .port = port, .candidate = &candidate};
    const Outcome outcome = judge_candidate(image, facts, destination, question);
    // A rule that holds only here and there says less than the one that refuses the most telling way.
    if (outcome.allowed || outcome.progress > last.progress) last = outcome;
    return outcome.allowed;
  };
  if (!destination.hard()) {
    PortSamples samples(image, facts);
    samples.add_postings(destination.outer, candidate);
    if (destination.inner) samples.add_postings(*destination.inner, candidate);
    const auto on_every_port = [&](net::Protocol protocol) {
      return std::ranges::any_of(samples.sorted(), [&](net::Port port) { return survives(protocol, port); });
    };
    static_cast<void>(on_every_port(net::Protocol::tcp) || on_every_port(net::Protocol::udp) ||
                      survives(net::Protocol::icmp, 0));
  }
  return {.allowed = last.allowed, .reason = last.reason, .rule = last.rule, .hold_first_flight = false};
}

}  // namespace weir::policy
