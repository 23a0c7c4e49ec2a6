#include "policy/text/explain.h"

#include <algorithm>

#include "policy/compiled/judge.h"
#include "policy/text/json_text.h"
#include "policy/text/target.h"
#include "policy/text/values.h"

namespace weir::policy {

namespace {

constexpr net::Port kAssumedPort = 443;

// A request that names an address judges that; one that names only a host judges a public address of it that nobody
// knows, which no CIDR but the widest contains.
class Explainer {
 public:
  Explainer(const Image& image, const HostFacts& facts, const ExplainRequest& request)
      : image_(image), facts_(facts), request_(request) {
    if (request.name) candidate_ = {.name = &*request.name, .aliases = {}};
  }

  Explanation run() {
    out_.subject = subject();
    if (request_.name && !request_.address) {
      judge_by_name();
    } else {
      judge_by_address();
    }
    describe_rule();
    if (out_.allowed) {
      add_conditions();
    } else {
      add_remedies();
    }
    return std::move(out_);
  }

 private:
  std::string subject() const {
    std::string text(net::name_of(request_.protocol));
    const std::string port = request_.port == 0 ? "" : ":" + std::to_string(request_.port);
    if (request_.name) text += " " + request_.name->text() + port;
    if (request_.address) {
      text += request_.name ? " at " : " ";
      text += request_.port == 0 ? request_.address->text()
                                 : net::Endpoint{.address = *request_.address, .port = request_.port}.text();
    }
    return text;
  }

  void decide(bool allowed, Reason reason, RuleRef rule) {
    out_.allowed = allowed;
    out_.reason = allowed ? Reason::none : reason;
    rule_ = rule;
  }

  void judge_by_name() {
    const NameVerdict asked = judge_name(image_, *request_.name, kTypeA);
    if (asked.answer == NameAnswer::localhost || asked.answer == NameAnswer::gateway) {
      out_.notes.push_back("weir itself answers for this name; it never leaves the sandbox");
      return decide(true, Reason::none, {});
    }
    if (asked.answer != NameAnswer::ask && asked.answer != NameAnswer::host_service) {
      out_.notes.emplace_back(asked.answer == NameAnswer::nxdomain
                                  ? "the resolver says NXDOMAIN and asks nobody"
                                  : "the resolver says that the name has no addresses, and asks nobody");
      return decide(false, asked.reason, asked.rule);
    }
    const bool host = asked.answer == NameAnswer::host_service;
    const Place place = host ? Place{net::IpAddress::v4({127, 0, 0, 1}), {{AddressClass::loopback}, false}}
                             : Place::of_unresolved_name();
    const Outcome outcome =
        judge_candidate(image_, facts_, {.outer = place, .inner = {}},
                        {.protocol = request_.protocol, .port = request_.port, .candidate = &candidate_});
    decide(outcome.allowed, outcome.reason, outcome.rule);
    if (!outcome.allowed) return;
    if (!is_carried(image_, request_.protocol, place.address)) return decide(false, Reason::upstream_proxy, {});
    if (request_.protocol == net::Protocol::tcp && !host && image_.egress_proxies().empty()) {
      out_.notes.emplace_back("holds for the public addresses of the name; private ones are refused (rebind)");
    }
  }

  void judge_by_address() {
    const std::span<const NameCandidate> names(&candidate_, request_.name ? 1 : 0);
    const Request request{
        .protocol = request_.protocol, .address = *request_.address, .port = request_.port, .names = names};
    Verdict verdict = admit(image_, facts_, request);
    if (request_.flight && verdict.allowed) {
      verdict = admit_first_flight(image_, facts_, request, *request_.flight);
    } else if (verdict.hold_first_flight) {
      out_.notes.emplace_back("the guest's bytes wait until the name in its first ones is known and judged too");
    }
    decide(verdict.allowed, verdict.reason, verdict.rule);
  }

  void describe_rule() {
    out_.layer = rule_.layer;
    const LayerView* const layer = image_.layer(rule_.layer);
    if (layer != nullptr && rule_.index != RuleRef::kNoEntry) {
      out_.rule = layer->entry_text(rule_.index);
    } else if (layer != nullptr && out_.reason != Reason::floor) {
      out_.rule = "the default of mode " + std::string(name_of(layer->mode()));
    } else if (out_.reason == Reason::floor) {
      out_.rule = rule_.layer == Layer::floor ? "the hard floor" : "the soft floor";
    }
  }

  void add_conditions() {
    if (const EgressProxy* const proxy = egress_for(image_, request_.port); proxy != nullptr) {
      const std::string what = request_.name && !request_.address ? "by name" : "as an address";
      out_.notes.push_back("goes out " + what + " through the upstream proxy " + egress_text(*proxy));
    }
    const bool reads_name = request_.protocol == net::Protocol::tcp && request_.name && !request_.address;
    if (!reads_name) return;
    if (request_.port == 443) out_.notes.emplace_back("the TLS handshake must name it (SNI)");
    if (request_.port == 80) out_.notes.emplace_back("every HTTP request must name it (Host)");
  }

  std::string wanted() const {
    std::string text;
    const bool udp = request_.protocol == net::Protocol::udp;
    const bool icmp = request_.protocol == net::Protocol::icmp;
    if (udp) text = "udp://";
    if (icmp) text = "icmp://";
    if (request_.name && !request_.address) text += request_.name->text();
    if (request_.address) {
      if (request_.port != 0) return text + net::Endpoint{.address = *request_.address, .port = request_.port}.text();
      text += request_.address->text();
    }
    return request_.port == 0 ? text : text + ":" + std::to_string(request_.port);
  }

  void add_remedies() {
    const Reason reason = out_.reason;
    if (reason == Reason::no_rule) {
      note_near_names();
      note_other_ports();
      note_addresses_alone();
      out_.notes.push_back("to allow: --allow '" + wanted() + "'");
    } else if (reason == Reason::denied_by_rule && note_list()) {
      out_.notes.push_back(
          "to allow: take the name out of that list, and compile the policy again where it is compiled");
    } else if (reason == Reason::denied_by_rule) {
      out_.notes.push_back("to allow: take '" + out_.rule + "' out of the " + std::string(name_of(out_.layer)) +
                           " layer's denials, or put an allowing rule before it");
    } else if (reason == Reason::rebind) {
      out_.notes.emplace_back("an allowed name does not open a private address");
      out_.notes.push_back("to allow: --allow '" + wanted() + "' as well");
    } else if (reason == Reason::floor) {
      note_floor();
    } else if (reason == Reason::no_name) {
      out_.notes.emplace_back("require_name: a name must lead to the address first");
    } else if (reason == Reason::upstream_proxy) {
      out_.notes.emplace_back(request_.protocol == net::Protocol::tcp
                                  ? "this machine's own loopback means another machine behind an upstream proxy"
                                  : "an upstream proxy carries TCP only");
    } else if (reason == Reason::protocol) {
      out_.notes.emplace_back("UDP 443 hides the name, and this policy denies names; clients fall back to TCP");
    }
    if (out_.layer == Layer::floor && reason != Reason::floor) {
      out_.notes.emplace_back("the operator of this machine decides that, in its floor file");
    }
  }

  // A list is one entry with a million names: which of them was it?
  bool note_list() {
    const LayerView* const layer = image_.layer(rule_.layer);
    if (layer == nullptr || !layer->listed_names(rule_.index)) return false;
    const net::DomainName* const asked = request_.flight && request_.flight->name ? &*request_.flight->name
                                         : request_.name                          ? &*request_.name
                                                                                  : nullptr;
    if (asked == nullptr) return true;
    if (const auto listed = layer->listed_as(asked->text(), rule_.index)) {
      out_.notes.push_back("the list has " + std::string(listed->empty() ? "*" : *listed));
    }
    return true;
  }

  void note_floor() {
    const Destination destination = look_at(image_, facts_, *request_.address);
    if (destination.hard()) {
      out_.notes.push_back("to allow: --insist floor=" + request_.address->text() + " and --allow '" + wanted() + "'");
      return;
    }
    if (rule_.index != RuleRef::kNoEntry) {
      out_.notes.push_back("'" + out_.rule + "' opens only its public part");
    }
    if (rule_.layer == Layer::floor) {
      out_.notes.emplace_back("weir's own listeners stay closed");
    } else {
      out_.notes.push_back("to allow: --allow '" + wanted() + "', or its range or class on purpose");
    }
  }

  // '*.x' asked for x, and x asked for a name below it: the two mistakes that everybody makes once.
  void note_near_names() {
    if (!request_.name) return;
    const std::string& name = request_.name->text();
    const LayerView* const layer = image_.layer(rule_.layer);
    if (layer == nullptr) return;
    bool apex = false;
    layer->for_all_below(name, [&](const Posting& posting) {
      if (posting.action != Action::allow || (posting.flags & format::kExact) != 0 || apex) return;
      if (layer->allowed_below(name) == format::kNone) return;
      apex = true;
      out_.notes.push_back("'" + std::string(layer->entry_text(posting.entry)) + "' does not include " + name +
                           " itself; '." + name + "' or '" + name + "' would");
    });
    std::string_view parent = name;
    for (std::size_t dot = parent.find('.'); dot != std::string_view::npos && !apex; dot = parent.find('.')) {
      parent.remove_prefix(dot + 1);
      layer->for_name(parent, [&](const Posting& posting) {
        if (posting.action != Action::allow || apex) return;
        apex = true;
        out_.notes.push_back("'" + std::string(layer->entry_text(posting.entry)) + "' is that name only; '." +
                             std::string(parent) + "' would include the names below it");
      });
    }
  }

  // An allowed range of addresses is no reason to carry every name upstream, which surprises people.
  void note_addresses_alone() {
    const LayerView* const layer = image_.layer(rule_.layer);
    if (!request_.name || layer == nullptr || layer->address_allow() == format::kNone) return;
    out_.notes.push_back("'" + std::string(layer->entry_text(layer->address_allow())) +
                         "' allows addresses; names are asked only where an entry names them");
  }

  void note_other_ports() {
    if (!request_.name || rule_.layer == Layer::none) return;
    const LayerView* const layer = image_.layer(rule_.layer);
    if (layer == nullptr) return;
    bool said = false;
    layer->for_name(request_.name->text(), [&](const Posting& posting) {
      if (posting.action != Action::allow || said) return;
      said = true;
      out_.notes.push_back("'" + std::string(layer->entry_text(posting.entry)) +
                           "' allows the name for other ports or protocols");
    });
  }

  static constexpr std::uint16_t kTypeA = 1;

  const Image& image_;
  const HostFacts& facts_;
  const ExplainRequest& request_;
  NameCandidate candidate_;
  RuleRef rule_;
  Explanation out_;
};

}  // namespace

Result<ExplainRequest> parse_explain_request(std::string_view text) {
  auto parsed = parse_target(text, {.action = Action::deny, .insisted_broad = {}});
  if (!parsed) return std::unexpected(parsed.error().about(text));
  if (parsed->targets.size() != 1 || parsed->targets.front().kind == Target::Kind::address_class) {
    return std::unexpected(Error("'" + std::string(text) + "' is not one destination")
                               .with_remedy("ask about one name or one address: example.com:443"));
  }
  const Target& target = parsed->targets.front();
  ExplainRequest request;
  for (const net::Protocol each : {net::Protocol::udp, net::Protocol::icmp}) {
    if (target.protocols == ProtocolSet::only(each)) request.protocol = each;
  }
  const bool single_port =
      target.ports.empty() || (target.ports.size() == 1 && target.ports[0].first == target.ports[0].last);
  const bool one_name = target.kind == Target::Kind::name && target.scope == NameScope::exact;
  const bool one_address = target.kind == Target::Kind::cidr && target.cidr.is_single();
  if (!single_port || (!one_name && !one_address)) {
    return std::unexpected(Error("'" + std::string(text) + "' is more than one destination")
                               .with_remedy("ask about one name or address and one port: example.com:443"));
  }
  if (request.protocol != net::Protocol::icmp)
    request.port = target.ports.empty() ? kAssumedPort : target.ports[0].first;
  if (one_address) {
    request.address = target.cidr.base();
  } else {
    WEIR_TRY(request.name, net::DomainName::parse(target.name));
  }
  return request;
}

Explanation explain(const Image& image, const HostFacts& facts, const ExplainRequest& request) {
  return Explainer(image, facts, request).run();
}

std::string explanation_text(const Explanation& explanation) {
  std::string text = explanation.subject + ": " + (explanation.allowed ? "allowed" : "refused");
  if (!explanation.allowed) text += ", " + std::string(name_of(explanation.reason));
  text += "\n";
  if (!explanation.rule.empty()) {
    text += "  decided by: " + explanation.rule;
    if (explanation.layer != Layer::none) text += " (layer " + std::string(name_of(explanation.layer)) + ")";
    text += "\n";
  }
  for (const std::string& note : explanation.notes) text += "  " + note + "\n";
  return text;
}

std::string explanation_json(const Explanation& explanation) {
  JsonText notes = JsonText::array();
  for (const std::string& note : explanation.notes) notes.push(note);
  JsonText object = JsonText::object();
  object.add("subject", explanation.subject)
      .add("verdict", explanation.allowed ? "allow" : "refuse")
      .add("reason", name_of(explanation.reason))
      .add("layer", name_of(explanation.layer))
      .add("rule", explanation.rule)
      .add_raw("notes", notes.text());
  return object.text();
}

}  // namespace weir::policy
