#include "dial/inbound_flows.h"

#include <cerrno>

#include "dial/errno_name.h"
#include "policy/compiled/image.h"

namespace weir::dial {

namespace {

audit::Event event_of(audit::EventType type, const Arrival& arrival) {
  audit::Event event;
  event.type = type;
  event.proto = net::name_of(arrival.protocol);
  event.via = audit::kViaPublish;
  event.dst = arrival.published.address;
  event.port = arrival.published.port;
  event.src = arrival.client.address;
  event.guest_port = arrival.guest;
  return event;
}

}  // namespace

void InboundFlows::open(const Arrival& arrival, Then then) {
  const std::uint64_t flow = next_++;
  audit::Event event = event_of(audit::EventType::flow_open, arrival);
  event.src_port = arrival.client.port;
  event.flow = flow;
  event.verdict = "allow";
  event.rule = audit::Rule{.layer = "session",
                           .index = {},
                           .text = policy::publish_text({.protocol = arrival.protocol,
                                                         .bind = arrival.published.address,
                                                         .host = arrival.published.port,
                                                         .guest = arrival.guest})};
  if (!recorder_.record(std::move(event))) {
    refuse(arrival, policy::Reason::audit);
    return then(0);
  }
  flows_.emplace(flow, Flow{.arrival = arrival, .opened_ms = reactor_.now_ms()});
  opened_.emplace_back(flow, std::move(then));
}

// Without the client's port: whoever comes again and again is one event with a count.
void InboundFlows::refuse(const Arrival& arrival, policy::Reason reason, std::optional<audit::Rule> rule,
                          std::optional<audit::LimitHit> hit) {
  audit::Event event = event_of(audit::EventType::flow_refuse, arrival);
  event.verdict = "refuse";
  event.reason = policy::name_of(reason);
  event.rule = std::move(rule);
  if (hit) event.limits = {std::move(*hit)};
  recorder_.record(std::move(event));
}

void InboundFlows::reached(policy::Limit limit, audit::LimitHit hit, std::uint64_t flow) {
  if (limit == policy::Limit::egress_bytes_total || limit == policy::Limit::ingress_bytes) used_up_ = limit;
  audit::Event event;
  event.type = audit::EventType::limit;
  event.via = audit::kViaPublish;
  if (const auto found = flows_.find(flow); found != flows_.end()) {
    event = event_of(audit::EventType::limit, found->second.arrival);
    event.src_port = found->second.arrival.client.port;
    event.flow = flow;
  }
  event.limits = {std::move(hit)};
  recorder_.record(std::move(event));
}

void InboundFlows::settle(Written written) {
  for (auto& [flow, then] : std::exchange(opened_, {})) {
    const auto found = flows_.find(flow);
    if (found == flows_.end()) {
      then(0);
      continue;
    }
    if (written == Written::no) {
      refuse(found->second.arrival, policy::Reason::audit);
      flows_.erase(found);
    }
    then(written == Written::yes ? flow : 0);
  }
}

bool InboundFlows::pass(std::uint64_t flow) {
  const auto found = flows_.find(flow);
  if (found == flows_.end()) return false;
  found->second.passed = true;
  return true;
}

std::vector<std::uint64_t> InboundFlows::cut(const policy::Verdict& verdict, const std::optional<audit::Rule>& rule) {
  cut_by_ = Cut{.reason = policy::name_of(verdict.reason), .rule = rule};
  std::vector<std::uint64_t> passed;
  std::vector<std::uint64_t> under_way;
  for (const auto& [number, flow] : flows_) (flow.passed ? passed : under_way).push_back(number);
  for (const std::uint64_t flow : under_way) close(flow, 0, 0, ECONNABORTED);
  return passed;
}

void InboundFlows::close(std::uint64_t flow, std::uint64_t up, std::uint64_t down, int error) {
  const auto found = flows_.find(flow);
  if (found == flows_.end()) return;
  audit::Event event = event_of(audit::EventType::flow_close, found->second.arrival);
  event.src_port = found->second.arrival.client.port;
  event.flow = flow;
  event.bytes_up = up;
  event.bytes_down = down;
  event.ms = reactor_.now_ms() - found->second.opened_ms;
  if (error != 0) event.error = errno_name(error);
  if (cut_by_ && error != 0) {
    event.reason = cut_by_->reason;
    event.rule = cut_by_->rule;
  }
  flows_.erase(found);
  recorder_.record(std::move(event));
}

void InboundFlows::close_all(int error) {
  opened_.clear();
  while (!flows_.empty()) close(flows_.begin()->first, 0, 0, error);
}

}  // namespace weir::dial
