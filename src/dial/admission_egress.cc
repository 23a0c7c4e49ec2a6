// The part of admission that only a proxy of the user's own needs.
#include <algorithm>

#include "dial/admission.h"
#include "wire/dns.h"

namespace weir::dial {

void Admission::cancel_dial(Dialer::Id dial) {
  if (has_egress()) return egress_.cancel(dial);
  dialer_.cancel(dial);
}

const EgressRoute& Admission::route_to(net::Port port) const {
  const policy::EgressProxy* const proxy = policy::egress_for(image_, port);
  const auto found = std::ranges::find_if(
      settings_.egress, [&](const EgressRoute& each) { return proxy != nullptr && each.proxy == *proxy; });
  WEIR_ASSERT(found != settings_.egress.end());  // the settings are made from the image
  return *found;
}

wire::Authority Admission::target_of(const Flow& flow) {
  wire::Authority target{.host = flow.dialled.address, .port = flow.dialled.port};
  if (flow.stands_for) target.host = *flow.stands_for;
  return target;
}

const net::IpAddress& Admission::account_of(const net::Endpoint& dialled) const {
  return has_egress() ? route_to(dialled.port).proxy.endpoint.address : dialled.address;
}

// The gateway was asked for a name, and asks nobody: what it gets stands for the name, wherever that leads.
void Admission::learn_stand_in(const control::Learn& learn) {
  const bool v4 = learn.type == wire::dns::type::kA;
  if ((!v4 && learn.type != wire::dns::type::kAaaa) || !learn.addresses.empty()) {
    return answer(control::LearnAnswer{
        .query = learn.query, .allowed = 0, .reason = static_cast<std::uint8_t>(policy::Reason::protocol)});
  }
  // Nothing is known about where the name leads, so that it is judged as a name, too, whoever says that it was.
  const policy::NameVerdict named = policy::judge_name(image_, *learn.name, learn.type);
  if (named.answer != policy::NameAnswer::ask) {
    const policy::Reason reason = named.reason == policy::Reason::none ? policy::Reason::floor : named.reason;
    return answer_learn(learn, {.query = learn.query, .allowed = 0}, policy::refusal(reason, named.rule));
  }
  const policy::Family family = v4 ? policy::Family::v4 : policy::Family::v6;
  const auto facts = this->facts();
  const policy::NameCandidate candidate{.name = &*learn.name, .aliases = {}};
  control::Learn stood = learn;
  stood.aliases.clear();
  stood.ttl = 0;
  stood.addresses = {stand_ins_.of(book_, *learn.name, family)};
  policy::Verdict verdict = policy::refusal(policy::Reason::floor);
  if (facts) verdict = policy::judge_answer(image_, **facts, candidate, stood.addresses.front());
  control::LearnAnswer reply{.query = learn.query, .allowed = verdict.allowed ? 1u : 0u};
  if (verdict.allowed) reply.stand_in = stood.addresses;
  answer_learn(stood, std::move(reply), verdict);
}

}  // namespace weir::dial
