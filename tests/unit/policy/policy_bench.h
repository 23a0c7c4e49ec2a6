// Short spellings for the table-driven tests of this room: a policy from flags or a file, questions to it.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "policy/compiled/admit.h"
#include "policy/compiled/layer_view.h"
#include "policy/text/compile.h"
#include "policy/text/target.h"

namespace weir::policy::testing {

inline net::IpAddress ip(std::string_view text) {
  const auto address = net::IpAddress::parse(text);
  EXPECT_TRUE(address) << text;
  return address.value_or(net::IpAddress());
}
inline net::DomainName name(std::string_view text) {
  auto parsed = net::DomainName::parse(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

// A compiled policy with its image open.
struct Policy {
  Compiled compiled;
  std::optional<Image> image;

  explicit Policy(Compiled made) : compiled(std::move(made)) {
    auto opened = Image::open(compiled.image);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().what());
    if (opened) image = *opened;
  }
};

inline CompileInput flags(std::string mode, std::vector<std::string> allow, std::vector<std::string> deny = {},
                          std::vector<std::string> insist = {}) {
  CompileInput input;
  input.session.mode = std::move(mode);
  input.session.allow = std::move(allow);
  input.session.deny = std::move(deny);
  input.session.insist = std::move(insist);
  return input;
}
inline CompileInput file(std::string text) {
  CompileInput input;
  input.session.file = TextFile{.name = "p.toml", .text = "version = 1\n" + std::move(text)};
  return input;
}
inline CompileInput with_floor(CompileInput input, std::string text) {
  input.floor = TextFile{.name = "floor.toml", .text = "version = 1\n" + std::move(text)};
  return input;
}
inline CompileInput with_run(CompileInput input, std::string mode, std::vector<std::string> allow,
                             std::vector<std::string> deny = {}) {
  input.run = PolicyFlags{};
  input.run->mode = std::move(mode);
  input.run->allow = std::move(allow);
  input.run->deny = std::move(deny);
  return input;
}

inline Policy policy(const CompileInput& input) {
  auto compiled = compile_policy(input);
  if (!compiled) {
    ADD_FAILURE() << compiled.error().what();
    compiled = compile_policy(flags("none", {}));
  }
  return Policy(std::move(*compiled));
}

// Names that lead to the address of a request; "a.example<b.example" has the alias b.example.
class Names {
 public:
  explicit Names(const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      const std::size_t mark = text.find('<');
      std::vector<net::DomainName>& aliases = aliases_.emplace_back();
      if (mark != std::string::npos) aliases.push_back(name(std::string_view(text).substr(mark + 1)));
      names_.push_back(name(std::string_view(text).substr(0, mark)));
      candidates_.push_back({.name = &names_.back(), .aliases = aliases});
    }
  }
  Names(const Names&) = delete;
  std::span<const NameCandidate> span() const { return candidates_; }

 private:
  std::deque<net::DomainName> names_;
  std::deque<std::vector<net::DomainName>> aliases_;
  std::vector<NameCandidate> candidates_;
};

// "allow", "hold" (allowed, but the first flight is judged), or the reason of the refusal.
inline std::string word(const Verdict& verdict) {
  if (!verdict.allowed) return std::string(name_of(verdict.reason));
  return verdict.hold_first_flight ? "hold" : "allow";
}

// "tcp://192.0.2.1:443", "icmp://[2001:db8::1]"
struct Ask {
  net::Protocol protocol = net::Protocol::tcp;
  net::IpAddress address;
  net::Port port = 0;

  static Ask parse(std::string_view text) {
    auto parsed = parse_target(text, {.action = Action::deny, .insisted_broad = {}});
    EXPECT_TRUE(parsed) << text;
    Ask ask;
    const Target& target = parsed->targets.front();
    EXPECT_EQ(target.kind, Target::Kind::cidr) << text;
    if (target.protocols == ProtocolSet::only(net::Protocol::udp)) ask.protocol = net::Protocol::udp;
    if (target.protocols == ProtocolSet::only(net::Protocol::icmp)) ask.protocol = net::Protocol::icmp;
    ask.address = target.cidr.base();
    if (!target.ports.empty()) ask.port = target.ports.front().first;
    return ask;
  }
};

inline Verdict ask(const Policy& policy, std::string_view destination, const std::vector<std::string>& names = {},
                   const HostFacts& facts = {}) {
  const Ask parsed = Ask::parse(destination);
  const Names live(names);
  return admit(*policy.image, facts,
               {.protocol = parsed.protocol, .address = parsed.address, .port = parsed.port, .names = live.span()});
}

inline FirstFlight tls(std::string_view sni) {
  FirstFlight flight{.kind = FlightKind::tls, .name = {}, .name_present = !sni.empty(), .ech = false};
  if (!sni.empty()) {
    if (auto parsed = net::DomainName::parse(sni)) flight.name = *parsed;
  }
  return flight;
}
inline FirstFlight http(std::string_view host) {
  FirstFlight flight = tls(host);
  flight.kind = FlightKind::http;
  return flight;
}
inline FirstFlight flight_of(FlightKind kind) {
  return {.kind = kind, .name = {}, .name_present = false, .ech = false};
}

inline Verdict fly(const Policy& policy, std::string_view destination, const std::vector<std::string>& names,
                   const FirstFlight& flight, const HostFacts& facts = {}) {
  const Ask parsed = Ask::parse(destination);
  const Names live(names);
  return admit_first_flight(
      *policy.image, facts,
      {.protocol = parsed.protocol, .address = parsed.address, .port = parsed.port, .names = live.span()}, flight);
}

inline std::string word(const NameVerdict& verdict) {
  switch (verdict.answer) {
    case NameAnswer::ask:
      return "ask";
    case NameAnswer::nxdomain:
      return "nxdomain " + std::string(name_of(verdict.reason));
    case NameAnswer::nodata:
      return "nodata " + std::string(name_of(verdict.reason));
    case NameAnswer::localhost:
      return "localhost";
    case NameAnswer::host_service:
      return "host";
    case NameAnswer::gateway:
      return "gateway";
  }
  return "?";
}

inline std::string ask_name(const Policy& policy, std::string_view text, std::uint16_t type = 1) {
  return word(judge_name(*policy.image, name(text), type));
}

inline std::string answer(const Policy& policy, const std::string& candidate, std::string_view address,
                          const HostFacts& facts = {}) {
  const Names names({candidate});
  return word(judge_answer(*policy.image, facts, names.span().front(), ip(address)));
}

inline HostFacts lan(std::vector<std::string> prefixes) {
  HostFacts facts;
  for (const std::string& each : prefixes) facts.lan.push_back(*net::Cidr::parse(each));
  return facts;
}

}  // namespace weir::policy::testing
