// The part of admission that is about names: answers of the DNS, questions that were refused, sockets to name servers.
#include <cerrno>
#include <utility>

#include "dial/admission.h"
#include "dial/flow_events.h"
#include "wire/dns.h"

namespace weir::dial {

using audit::Event;
using audit::EventType;

void Admission::on(const control::Learn& learn) {
  if (!learn.name) return;
  settle();  // what was recorded before is not to be undone by this one
  if (has_egress()) return learn_stand_in(learn);
  control::LearnAnswer reply{.query = learn.query, .allowed = 0};
  policy::Verdict last = policy::refusal(policy::Reason::no_rule);
  const auto facts = this->facts();
  const policy::NameCandidate candidate{.name = &*learn.name, .aliases = learn.aliases};
  for (std::size_t i = 0; facts && i < learn.addresses.size(); ++i) {
    const policy::Verdict verdict = policy::judge_answer(image_, **facts, candidate, learn.addresses[i]);
    if (verdict.allowed) reply.allowed |= 1u << i;
    if (!verdict.allowed) last = verdict;
  }
  answer_learn(learn, reply, last);
}

void Admission::answer_learn(const control::Learn& learn, control::LearnAnswer reply, const policy::Verdict& refused) {
  // What cannot be recorded is not answered.
  const bool recorded = recorder_.record(learn_event(learn, reply.allowed, refused)) && recorder_.commit();
  if (!recorded) reply.allowed = 0;
  if (!recorded) reply.stand_in.clear();
  if (reply.allowed == 0) reply.reason = static_cast<std::uint8_t>(recorded ? refused.reason : policy::Reason::audit);
  for (std::size_t i = 0; i < learn.addresses.size(); ++i) {
    if ((reply.allowed >> i & 1) == 0) continue;
    book_.learn(*learn.name, learn.aliases, learn.addresses[i], learn.ttl, reactor_.now_ms());
  }
  answer(reply);
}

audit::Event Admission::learn_event(const control::Learn& learn, std::uint32_t allowed,
                                    const policy::Verdict& refused) const {
  Event event;
  event.name = learn.name->text();
  event.query_type = wire::dns::type_text(learn.type);
  event.rcode = rcode_text(0);
  if (allowed == 0) {
    event.type = EventType::dns_refuse;
    event.verdict = "refuse";
    event.reason = policy::name_of(refused.reason);
    event.rule = rule_of(refused.rule);
    event.addresses = learn.addresses;
    return event;
  }
  event.type = EventType::dns_answer;
  event.verdict = "allow";
  for (std::size_t i = 0; i < learn.addresses.size(); ++i) {
    if ((allowed >> i & 1) != 0) event.addresses.push_back(learn.addresses[i]);
  }
  return event;
}

void Admission::on(const control::NameAnswered& answered) {
  Event event;
  event.type = EventType::dns_answer;
  if (answered.name) event.name = answered.name->text();
  event.query_type = wire::dns::type_text(answered.type);
  event.rcode = rcode_text(answered.rcode);
  event.verdict = "allow";
  recorder_.record(std::move(event));
}

void Admission::on(const control::NameRefused& refused) {
  Event event;
  event.type = EventType::dns_refuse;
  if (refused.name) event.name = refused.name->text();
  event.query_type = wire::dns::type_text(refused.type);
  event.rcode = rcode_text(refused.rcode);
  event.verdict = "refuse";
  event.reason = policy::name_of(refused.reason < policy::kReasonCount ? static_cast<policy::Reason>(refused.reason)
                                                                       : policy::Reason::malformed);
  if (refused.layer <= static_cast<std::uint8_t>(policy::kInnermostLayer)) {
    event.rule = rule_of({.layer = static_cast<policy::Layer>(refused.layer), .index = refused.entry});
  }
  if (refused.limit < policy::kLimitCount) event.limits = {hit_of(static_cast<policy::Limit>(refused.limit))};
  recorder_.record(std::move(event));
}

void Admission::on(const control::OpenResolver& ask) {
  const auto fail_with = [this, &ask](int error) {
    answer(control::ResolverAnswer{.query = ask.query, .error = static_cast<std::uint32_t>(error)});
  };
  if (ask.server >= settings_.resolvers.size()) return fail_with(EINVAL);
  if (ending_ || suspended_) return fail_with(ECANCELED);
  if (!recorder_.healthy()) return fail_with(EIO);
  if (!policy::may_resolve(image_)) return fail_with(EACCES);
  if (dialer_.pending() >= kMaxDials) return fail_with(EAGAIN);
  const net::Endpoint& resolver = settings_.resolvers[ask.server];
  if (ask.tcp) {
    constexpr std::uint64_t kTimeoutMs = 5000;
    dialer_.connect(resolver, kTimeoutMs, [this, query = ask.query](Dialled dialled) {
      answer(control::ResolverAnswer{.query = query, .error = static_cast<std::uint32_t>(dialled.error)},
             std::move(dialled.socket));
    });
    return;
  }
  auto socket = connected_udp(resolver);
  if (!socket) return fail_with(socket.error().code());
  answer(control::ResolverAnswer{.query = ask.query, .error = 0}, std::move(*socket));
}

}  // namespace weir::dial
