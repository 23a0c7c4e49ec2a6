// `weir policy explain`: the verdict on one request, who decided, and what would change it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/compiled/admit.h"
#include "policy/text/compile.h"

namespace weir::policy {

// One request as a person asks about it.
struct ExplainRequest {
  net::Protocol protocol = net::Protocol::tcp;
  net::Port port = 0;  // 0 for ICMP
  // What is asked for: a name, an address, or an address that a name led to.
  std::optional<net::DomainName> name;
  std::optional<net::IpAddress> address;
  // The first bytes of the connection, where they are asked about too.
  std::optional<FirstFlight> flight;
};

// "example.com:443", "udp://192.0.2.53:53", "icmp://192.0.2.7"; without a port 443 is meant. One name or one address.
Result<ExplainRequest> parse_explain_request(std::string_view text);

struct Explanation {
  bool allowed = false;
  Reason reason = Reason::no_rule;
  std::string subject;             // "tcp example.com:443"
  Layer layer = Layer::none;       // who decided; none: the machine or the protocol itself
  std::string rule;                // the entry that decided, or "the default of mode allowlist", "the hard floor"
  std::vector<std::string> notes;  // conditions of an allowance; what would change a refusal
};

// A name whose address is not given is judged as the guest would meet it: first by the resolver, then as a connection
// to some public address.
Explanation explain(const Image& image, const HostFacts& facts, const ExplainRequest& request);

// Several lines, with a newline at the end.
std::string explanation_text(const Explanation& explanation);
// One object, without a newline.
std::string explanation_json(const Explanation& explanation);

}  // namespace weir::policy
