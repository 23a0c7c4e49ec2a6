// The resolver: port 53 of every address ends here.
//
// A question is parsed strictly and its name is judged before anything is asked. An allowed name is asked upstream with
// a query built afresh; every address of the answer is judged by the supervisor (Learn), which enters the survivors
// into the name book; only survivors are shown. One upstream question serves all who ask the same at the same time.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "gateway/link.h"
#include "gateway/resolver/cache.h"
#include "gateway/resolver/lookup.h"
#include "gateway/resolver/question_limits.h"
#include "gateway/tun.h"
#include "policy/compiled/admit.h"

namespace weir::gateway {

class DnsStream;

class Resolver {
 public:
  static constexpr std::size_t kMaxLookups = 512;         // questions upstream at a time; more are SERVFAIL
  static constexpr std::size_t kMaxAskersPerLookup = 64;  // who wait for the same answer
  static constexpr std::size_t kMaxStreams = 64;          // DNS over TCP connections of the guest

  // `image` must outlive it.
  Resolver(sys::Reactor& reactor, Link& link, Tun& tun, const policy::Image& image, const control::Start& world);
  ~Resolver();

  // A query datagram of the guest to any address.
  void serve_datagram(const net::Endpoint& guest, const net::Endpoint& server, Bytes query);
  // A TCP connection of the guest to port 53 of any address. `received`: what was read from it already.
  void serve_stream(sys::OwnedFd guest, Bytes received = {});
  using Reply = std::function<void(const Outcome&)>;
  // On behalf of a connection. Calls `reply` with the outcome, now or later: judged, recorded, and in the name book
  // what survived. A question that goes upstream takes its turn as one of the guest's does.
  void ask(const net::DomainName& name, wire::dns::Type type, Reply reply);
  // Brings a name's addresses into the name book (if the policy lets it be asked), then calls back; at once if there is
  // nothing to ask.
  void resolve(const net::DomainName& name, std::function<void()> on_done);

  // Records go to the supervisor now instead of at the end of the round. False: it is gone.
  bool flush_records() { return link_.flush(); }

  // The image is another one: what was answered by the old one is forgotten, and questions under way are judged again.
  void policy_changed();

  void on_answer(const control::LearnAnswer& answer);
  void on_answer(const control::ResolverAnswer& answer, sys::OwnedFd socket);

 private:
  friend class DnsStream;
  struct Pending {
    Question question;
    std::unique_ptr<Lookup> lookup;
    std::vector<Reply> askers;
    std::vector<net::IpAddress> judged;  // addresses that the supervisor is judging
    std::uint32_t ttl = 0;
  };

  // The response to a message of the guest, through `send`, now or later. Empty: there is none.
  using Send = std::function<void(Bytes)>;
  void serve(Bytes message, wire::dns::Carrier carrier, Send send);
  void serve_now(Bytes message, wire::dns::Carrier carrier, Send send);
  void refuse_over(Bytes message, wire::dns::Carrier carrier, const Send& send);
  // Whether dns_queries_per_second has counted the question.
  enum class Turn : std::uint8_t { to_take, taken };
  void answer(const Question& question, Turn turn, Reply reply);
  void look_up_in_turn(const Question& question, Turn turn, Reply reply);
  // Runs `action` when its turn has come; false where too many wait.
  bool wait(std::uint64_t wait_ms, policy::Limit limit, const std::optional<net::DomainName>& name,
            std::function<void()> action);
  void refuse(const net::DomainName& name, wire::dns::Type type, const policy::NameVerdict& verdict,
              const Reply& reply);
  bool answer_locally(policy::NameAnswer answer, wire::dns::Type type, const Reply& reply);
  void look_up(const Question& question, Reply reply);
  bool is_kept_back(const net::DomainName& alias, wire::dns::Type type) const;
  void judge_again(std::uint64_t pending);
  void found(std::uint64_t pending, Lookup::Found found);
  void settle(std::uint64_t pending, Outcome outcome);
  void record_answer(const Question& question, const Outcome& outcome);
  void stream_ended(DnsStream& stream);

  sys::Reactor& reactor_;
  Link& link_;
  Tun& tun_;
  const policy::Image& image_;  // the gateway changes it: policy_changed()
  control::Start world_;
  AnswerCache cache_;
  QuestionLimits limits_;
  std::size_t waiting_ = 0;
  std::unordered_map<std::uint64_t, Pending> pending_;
  std::unordered_map<Question, std::uint64_t, QuestionHash> by_question_;
  std::unordered_map<DnsStream*, std::unique_ptr<DnsStream>> streams_;
  std::uint64_t last_pending_ = 0;
};

}  // namespace weir::gateway
