// One question on its way upstream: servers in turn, UDP then TCP on truncation, CNAME chains followed to their end.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "gateway/link.h"
#include "gateway/resolver/cache.h"
#include "sys/reactor.h"
#include "wire/dns.h"

namespace weir::gateway {

class Lookup : public sys::EventHandler {
 public:
  static constexpr std::uint64_t kAttemptMs = 2000;
  static constexpr unsigned kRounds = 2;  // times each server is tried

  // What upstream said, before anything of it was judged.
  struct Found {
    wire::dns::Rcode rcode = wire::dns::Rcode::server_failure;  // also for silent and lying servers
    std::vector<net::DomainName> aliases;                       // the names below the asked one, in order
    std::vector<net::IpAddress> addresses;
    std::vector<wire::dns::Record> records;
    std::uint32_t ttl = wire::dns::kMaxTtl;
  };
  using OnDone = std::function<void(Found)>;
  // May the end of a chain be asked, when the server did not follow it by itself?
  using MayFollow = std::function<bool(const net::DomainName&)>;

  // `servers`: how many resolvers the supervisor has. on_done is called once, never from the constructor or start().
  Lookup(sys::Reactor& reactor, Link& link, Question question, std::size_t servers, MayFollow may_follow,
         OnDone on_done);
  ~Lookup() override;

  // Asks for the first socket. `query` is the number under which answers of the supervisor come back.
  void start();
  std::uint64_t query() const { return query_; }
  // The supervisor opened a socket, or could not.
  void on_socket(sys::OwnedFd socket, int error);

  void on_events(std::uint32_t events) override;

 private:
  void ask_for_socket();
  void next_attempt();
  void send_question();
  void read_datagrams();
  void read_stream();
  // True if the bytes were the answer to the question.
  bool take(Bytes message);
  void answered(wire::dns::Response response);
  void ask_over_tcp();
  void finish(Found found);
  void drop_socket();

  sys::Reactor& reactor_;
  Link& link_;
  Question asked_;        // by the guest
  net::DomainName name_;  // asked now: the end of the chain so far
  std::size_t servers_;
  MayFollow may_follow_;
  OnDone on_done_;
  std::uint64_t query_ = 0;
  unsigned attempt_ = 0;
  bool tcp_ = false;
  bool waiting_for_socket_ = false;
  sys::OwnedFd socket_;
  sys::Reactor::TimerId timer_ = 0;
  wire::dns::UpstreamQuery sent_;
  std::vector<std::uint8_t> stream_;  // what TCP has brought so far
  Found found_;
};

}  // namespace weir::gateway
