#include "gateway/resolver/resolver.h"

#include <algorithm>
#include <array>

#include "gateway/resolver/dns_stream.h"
#include "policy/compiled/own_names.h"
#include "wire/packet.h"

namespace weir::gateway {

namespace {

namespace dns = wire::dns;

constexpr std::uint32_t kLocalTtl = 60;  // names that weir answers by itself
constexpr std::size_t kIpAndUdpHeaders = 40 + 8;

bool has_addresses(dns::Type type) {
  return type == dns::type::kA || type == dns::type::kAaaa;
}

Outcome negative(dns::Rcode rcode) {
  Outcome outcome;
  outcome.rcode = rcode;
  outcome.ttl = AnswerCache::kNegativeTtl;
  return outcome;
}

dns::Rcode rcode_of(policy::NameAnswer answer) {
  return answer == policy::NameAnswer::nxdomain ? dns::Rcode::name_error : dns::Rcode::no_error;
}

// A question without a host name in it: none travels to the supervisor.
control::NameRefused malformed_record(dns::Type type, dns::Rcode rcode) {
  return {.name = {},
          .type = type,
          .rcode = static_cast<std::uint16_t>(rcode),
          .reason = static_cast<std::uint8_t>(policy::Reason::malformed),
          .layer = 0,
          .entry = 0};
}

control::NameRefused refusal_record(const net::DomainName& name, dns::Type type, const policy::NameVerdict& verdict) {
  return {.name = name,
          .type = type,
          .rcode = static_cast<std::uint16_t>(rcode_of(verdict.answer)),
          .reason = static_cast<std::uint8_t>(verdict.reason),
          .layer = static_cast<std::uint8_t>(verdict.rule.layer),
          .entry = verdict.rule.index};
}

// Not the name's fault, and not for long: nothing that a client would remember.
Outcome over_limit() {
  Outcome outcome = negative(dns::Rcode::server_failure);
  outcome.refused = true;
  outcome.reason = static_cast<std::uint8_t>(policy::Reason::limit);
  return outcome;
}

control::NameRefused limit_record(const std::optional<net::DomainName>& name, dns::Type type, policy::Limit limit) {
  return {.name = name,
          .type = type,
          .rcode = static_cast<std::uint16_t>(dns::Rcode::server_failure),
          .reason = static_cast<std::uint8_t>(policy::Reason::limit),
          .layer = 0,
          .entry = 0,
          .limit = static_cast<std::uint8_t>(limit)};
}

void respond(const dns::Query& query, const Outcome& outcome, dns::Carrier carrier,
             const std::function<void(Bytes)>& send) {
  std::vector<std::uint8_t> buffer(carrier == dns::Carrier::udp ? dns::kMaxUdpSize : dns::kMaxMessage);
  dns::Answer answer{.rcode = outcome.rcode,
                     .addresses = outcome.addresses,
                     .ttl = outcome.ttl,
                     .records = outcome.records,
                     .extended_error = {}};
  if (outcome.refused)
    answer.extended_error = dns::ExtendedError{.code = dns::kEdeBlocked, .text = "refused by policy"};
  send(dns::build_response(query, answer, carrier, buffer));
}

}  // namespace

Resolver::Resolver(sys::Reactor& reactor, Link& link, Tun& tun, const policy::Image& image, const control::Start& world)
    : reactor_(reactor), link_(link), tun_(tun), image_(image), world_(world), limits_(image.limits()) {}

Resolver::~Resolver() = default;

void Resolver::serve_datagram(const net::Endpoint& guest, const net::Endpoint& server, Bytes query) {
  serve(query, dns::Carrier::udp, [this, guest, server](Bytes response) {
    if (response.empty()) return;
    std::array<std::uint8_t, dns::kMaxUdpSize + kIpAndUdpHeaders> packet;
    tun_.write(wire::udp_packet(server, guest, response, packet));
  });
}

void Resolver::serve_stream(sys::OwnedFd guest, Bytes received) {
  if (streams_.size() >= kMaxStreams) return;  // closed: a reset, and the client asks again
  auto stream = std::make_unique<DnsStream>(reactor_, *this, std::move(guest), received);
  DnsStream& started = *stream;
  streams_.emplace(&started, std::move(stream));
  started.start();
}

void Resolver::stream_ended(DnsStream& stream) {
  auto node = streams_.extract(&stream);
  if (!node.empty()) reactor_.retire(std::move(node.mapped()));
}

void Resolver::serve(Bytes message, dns::Carrier carrier, Send send) {
  // A longer one is no question; many that wait would be too much.
  if (message.size() > DnsStream::kMaxQuery) {
    link_.send(malformed_record(0, dns::Rcode::format_error));
    return send({});
  }
  const auto turn = limits_.question(reactor_.now_ms());
  if (turn == 0) return serve_now(message, carrier, std::move(send));
  auto later = [this, bytes = std::vector(message.begin(), message.end()), carrier, send] {
    serve_now(bytes, carrier, send);
  };
  if (!turn || !wait(*turn, policy::Limit::dns_queries_per_second, {}, std::move(later)))
    refuse_over(message, carrier, send);
}

bool Resolver::wait(std::uint64_t wait_ms, policy::Limit limit, const std::optional<net::DomainName>& name,
                    std::function<void()> action) {
  if (waiting_ >= QuestionLimits::kMaxWaiting) return false;
  ++waiting_;
  link_.send(control::LimitReached{.limit = static_cast<std::uint8_t>(limit), .name = name});
  reactor_.at(reactor_.now_ms() + wait_ms, [this, action = std::move(action)] {
    --waiting_;
    action();
  });
  return true;
}

// Too many questions: this one is not even judged.
void Resolver::refuse_over(Bytes message, dns::Carrier carrier, const Send& send) {
  const auto query = dns::parse_query(message);
  if (!query) return send({});
  link_.send(limit_record(query->host, query->type, policy::Limit::dns_queries_per_second));
  respond(*query, over_limit(), carrier, send);
}

void Resolver::serve_now(Bytes message, dns::Carrier carrier, Send send) {
  std::array<std::uint8_t, dns::kMinUdpSize> small;
  const auto query = dns::parse_query(message);
  if (!query) {
    const Bytes response = dns::build_error(query.error(), small);
    if (!response.empty()) link_.send(malformed_record(0, dns::Rcode::format_error));
    return send(response);
  }
  if (!query->host) {
    link_.send(malformed_record(query->type, dns::Rcode::name_error));
    Outcome refused = negative(dns::Rcode::name_error);
    refused.refused = true;
    return respond(*query, refused, carrier, send);
  }
  answer({.name = *query->host, .type = query->type}, Turn::taken,
         [query = *query, carrier, send = std::move(send)](const Outcome& outcome) {
           respond(query, outcome, carrier, send);
         });
}

void Resolver::ask(const net::DomainName& name, dns::Type type, Reply reply) {
  answer({.name = name, .type = type}, Turn::to_take, std::move(reply));
}

void Resolver::answer(const Question& question, Turn turn, Reply reply) {
  const auto& [name, type] = question;
  const policy::NameVerdict verdict = policy::judge_name(image_, name, type);
  if (verdict.answer == policy::NameAnswer::nxdomain || verdict.answer == policy::NameAnswer::nodata) {
    return refuse(name, type, verdict, reply);
  }
  if (answer_locally(verdict.answer, type, reply)) return record_answer(question, {});
  if (!dns::is_data_type(type)) return reply(negative(dns::Rcode::not_implemented));
  const bool resolved = world_.names == control::Names::resolved;
  if (resolved ? type == dns::type::kAaaa && !world_.upstream_ipv6 : !has_addresses(type)) {
    // The host has no way to IPv6 destinations: offering them would only delay the guest. And of a name that nobody is
    // asked for nothing but what stands for it is known.
    const Outcome empty = negative(dns::Rcode::no_error);
    record_answer(question, empty);
    return reply(empty);
  }
  if (const Outcome* cached = cache_.find(question, reactor_.now_ms())) {
    record_answer(question, *cached);
    return reply(*cached);
  }
  look_up_in_turn(question, turn, std::move(reply));
}

// dns_names_per_minute: only what is asked upstream counts. What a connection asks for counts as a question only here.
void Resolver::look_up_in_turn(const Question& question, Turn turn, Reply reply) {
  const std::uint64_t now = reactor_.now_ms();
  auto limit = policy::Limit::dns_names_per_minute;
  auto due = limits_.name(question.name, policy::chosen_by(image_, question.name), now);
  if (due && turn == Turn::to_take) {
    const auto own = limits_.question(now);
    if (!own || *own > *due) {
      limit = policy::Limit::dns_queries_per_second;
      due = own;
    }
  }
  if (due == 0) return look_up(question, std::move(reply));
  // Judged again when its turn has come: the policy may be narrower then.
  auto later = [this, question, reply] {
    const policy::NameVerdict verdict = policy::judge_name(image_, question.name, question.type);
    if (verdict.answer != policy::NameAnswer::ask) return refuse(question.name, question.type, verdict, reply);
    look_up(question, reply);
  };
  if (due && wait(*due, limit, question.name, std::move(later))) return;
  link_.send(limit_record(question.name, question.type, limit));
  reply(over_limit());
}

void Resolver::refuse(const net::DomainName& name, dns::Type type, const policy::NameVerdict& verdict,
                      const Reply& reply) {
  link_.send(refusal_record(name, type, verdict));
  Outcome outcome = negative(rcode_of(verdict.answer));
  outcome.refused = true;
  outcome.reason = static_cast<std::uint8_t>(verdict.reason);
  reply(outcome);
}

bool Resolver::answer_locally(policy::NameAnswer answer, dns::Type type, const Reply& reply) {
  Outcome outcome;
  outcome.ttl = kLocalTtl;
  switch (answer) {
    case policy::NameAnswer::localhost:
      outcome.addresses = {net::IpAddress::v4({127, 0, 0, 1}), *net::IpAddress::parse("::1")};
      break;
    case policy::NameAnswer::gateway:
      outcome.addresses = {world_.gateway4, world_.gateway6};
      break;
    case policy::NameAnswer::host_service:
      outcome.addresses = {world_.host4, world_.host6};
      break;
    case policy::NameAnswer::ask:
    case policy::NameAnswer::nxdomain:
    case policy::NameAnswer::nodata:
      return false;
  }
  const bool wants_v4 = type == dns::type::kA;
  std::erase_if(outcome.addresses,
                [&](const net::IpAddress& address) { return !has_addresses(type) || address.is_v4() != wants_v4; });
  reply(outcome);
  return true;
}

// The number of a question that is new; 0 where somebody asks the same already, or there is no room: then the reply is
// taken care of.
std::uint64_t Resolver::begin(const Question& question, Reply reply) {
  const auto same = by_question_.find(question);
  const bool crowded = same != by_question_.end() && pending_.at(same->second).askers.size() >= kMaxAskersPerLookup;
  const bool full = same == by_question_.end() && pending_.size() >= kMaxLookups;
  const bool nobody = world_.resolvers == 0 && world_.names == control::Names::resolved;
  if (crowded || full || nobody) {
    const Outcome trouble = negative(dns::Rcode::server_failure);
    record_answer(question, trouble);
    reply(trouble);
    return 0;
  }
  if (same != by_question_.end()) {
    pending_.at(same->second).askers.push_back(std::move(reply));
    return 0;
  }
  const std::uint64_t id = ++last_pending_;
  Pending& pending =
      pending_.emplace(id, Pending{.question = question, .lookup = nullptr, .askers = {}, .judged = {}, .ttl = 0})
          .first->second;
  pending.askers.push_back(std::move(reply));
  by_question_.emplace(question, id);
  return id;
}

void Resolver::look_up(const Question& question, Reply reply) {
  const std::uint64_t id = begin(question, std::move(reply));
  if (id == 0) return;
  if (world_.names == control::Names::stand_ins) {
    return link_.send(control::Learn{
        .query = id, .name = question.name, .aliases = {}, .addresses = {}, .ttl = 0, .type = question.type});
  }
  Pending& pending = pending_.at(id);
  pending.lookup = std::make_unique<Lookup>(
      reactor_, link_, question, world_.resolvers,
      [this, type = question.type](const net::DomainName& alias) { return !is_kept_back(alias, type); },
      [this, id](Lookup::Found result) { found(id, std::move(result)); });
  pending.lookup->start();
}

// A name further down a CNAME chain need not be allowed, but it may not be denied or one of weir's own.
bool Resolver::is_kept_back(const net::DomainName& alias, dns::Type type) const {
  return policy::judge_name(image_, alias, type).reason == policy::Reason::denied_by_rule ||
         policy::is_own_name(alias.text());
}

void Resolver::found(std::uint64_t id, Lookup::Found found) {
  const auto asked = pending_.find(id);
  if (asked == pending_.end()) return;  // refused meanwhile: policy_changed()
  Pending& pending = asked->second;
  reactor_.retire(std::move(pending.lookup));
  const Question question = pending.question;
  if (has_addresses(question.type) && !found.addresses.empty()) {
    pending.judged = std::move(found.addresses);
    pending.ttl = found.ttl;
    return link_.send(control::Learn{.query = id,
                                     .name = question.name,
                                     .aliases = std::move(found.aliases),
                                     .addresses = pending.judged,
                                     .ttl = pending.ttl,
                                     .type = question.type});
  }
  for (const net::DomainName& alias : found.aliases) {
    if (!is_kept_back(alias, question.type)) continue;
    policy::NameVerdict verdict = policy::judge_name(image_, alias, question.type);
    verdict.answer = policy::NameAnswer::nodata;
    link_.send(refusal_record(question.name, question.type, verdict));
    Outcome refused;
    refused.refused = true;
    refused.reason = static_cast<std::uint8_t>(verdict.reason);
    return settle(id, std::move(refused));
  }
  Outcome outcome;
  outcome.rcode = found.rcode;
  outcome.records = std::move(found.records);
  outcome.ttl = outcome.records.empty() ? AnswerCache::kNegativeTtl : found.ttl;
  record_answer(question, outcome);
  settle(id, std::move(outcome));
}

// Where addresses are on their way to the supervisor, it judges them by the new policy.
void Resolver::policy_changed() {
  limits_.narrow(image_.limits(), reactor_.now_ms());
  cache_ = {};
  std::vector<std::uint64_t> open;
  for (const auto& [id, pending] : pending_) {
    if (pending.judged.empty()) open.push_back(id);
  }
  for (const std::uint64_t id : open) judge_again(id);
}

void Resolver::judge_again(std::uint64_t id) {
  const auto pending = pending_.find(id);
  if (pending == pending_.end()) return;
  const Question question = pending->second.question;
  const policy::NameVerdict verdict = policy::judge_name(image_, question.name, question.type);
  if (verdict.answer == policy::NameAnswer::ask) return;
  link_.send(refusal_record(question.name, question.type, verdict));
  reactor_.retire(std::move(pending->second.lookup));
  Outcome outcome = negative(rcode_of(verdict.answer));
  outcome.refused = true;
  outcome.ttl = 0;
  settle(id, std::move(outcome));
}

// The supervisor has judged, recorded and learned.
void Resolver::on_answer(const control::LearnAnswer& answer) {
  const auto waiting = pending_.find(answer.query);
  if (waiting == pending_.end() || (waiting->second.judged.empty() && world_.names == control::Names::resolved)) return;
  Pending& pending = waiting->second;
  Outcome outcome;
  outcome.ttl = pending.ttl;
  for (std::size_t i = 0; i < pending.judged.size(); ++i) {
    if ((answer.allowed >> i & 1) != 0) outcome.addresses.push_back(pending.judged[i]);
  }
  if (world_.names == control::Names::stand_ins) {
    outcome.addresses = answer.stand_in;
    outcome.ttl = kLocalTtl;
  }
  outcome.refused = outcome.addresses.empty();
  outcome.reason = answer.reason;
  if (outcome.refused) outcome.ttl = 0;  // each attempt is judged and recorded anew
  settle(answer.query, std::move(outcome));
}

void Resolver::settle(std::uint64_t id, Outcome outcome) {
  auto node = pending_.extract(id);
  by_question_.erase(node.mapped().question);
  // The first asker's record is written; the others asked too.
  for (std::size_t i = 1; i < node.mapped().askers.size() && !outcome.refused; ++i) {
    record_answer(node.mapped().question, outcome);
  }
  for (const Reply& reply : node.mapped().askers) reply(outcome);
  // What stands for a name is the supervisor's to remember.
  if (outcome.rcode != dns::Rcode::server_failure && world_.names == control::Names::resolved)
    cache_.store(node.mapped().question, std::move(outcome), reactor_.now_ms());
}

void Resolver::on_answer(const control::ResolverAnswer& answer, sys::OwnedFd socket) {
  for (auto& [id, pending] : pending_) {
    if (pending.lookup == nullptr || pending.lookup->query() != answer.query) continue;
    return pending.lookup->on_socket(std::move(socket), static_cast<int>(answer.error & 0xfff));
  }
}

void Resolver::record_answer(const Question& question, const Outcome& outcome) {
  link_.send(control::NameAnswered{
      .name = question.name, .type = question.type, .rcode = static_cast<std::uint16_t>(outcome.rcode)});
}

void Resolver::resolve(const net::DomainName& name, std::function<void()> on_done) {
  // Both families, because the caller wants to know whether the name leads to an address of either.
  const auto left = std::make_shared<int>(2);
  const auto reply = [left, on_done = std::move(on_done)](const Outcome&) {
    if (--*left == 0) on_done();
  };
  ask(name, dns::type::kA, reply);
  ask(name, dns::type::kAaaa, reply);
}

}  // namespace weir::gateway
