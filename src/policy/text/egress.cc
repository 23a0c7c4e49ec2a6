#include "policy/text/egress.h"

#include "policy/text/values.h"

namespace weir::policy {

namespace {

struct Flag {
  std::string_view name;
  const std::string& url;
  const std::string& auth;
};

Result<> add(EgressProxy::Kind kind, PolicyText::Egress written, const Flag& flag, std::vector<EgressProxy>& proxies,
             std::vector<std::string>& notices) {
  const std::string name = "option --" + std::string(flag.name);
  if (!flag.url.empty()) {
    const auto before = written.endpoint;
    WEIR_TRY(written.endpoint, in_context(parse_egress_url(flag.url, kind), name));
    if (before && before != written.endpoint) {
      notices.push_back("--" + std::string(flag.name) + " replaces the upstream proxy in the policy file");
      // They were meant for the other one.
      written.credentials.reset();
    }
  }
  if (!flag.auth.empty())
    WEIR_CHECK_OK(in_context(parse_credentials_place(flag.auth, written.credentials.emplace()), name + "-auth"));
  if (written.endpoint) {
    EgressProxy proxy = written.credentials.value_or(EgressProxy{});
    proxy.kind = kind;
    proxy.endpoint = *written.endpoint;
    proxies.push_back(std::move(proxy));
  } else if (written.credentials) {
    return std::unexpected(Error("credentials for an upstream proxy that is not given")
                               .with_remedy("add --" + std::string(flag.name) + ", or leave them out"));
  }
  return {};
}

}  // namespace

Result<std::vector<EgressProxy>> egress_of(const PolicyFlags& flags, const PolicyText& text,
                                           std::vector<std::string>& notices) {
  std::vector<EgressProxy> proxies;
  const Flag http{.name = "upstream-proxy", .url = flags.upstream_proxy, .auth = flags.upstream_proxy_auth};
  const Flag socks{.name = "upstream-socks", .url = flags.upstream_socks, .auth = flags.upstream_socks_auth};
  WEIR_CHECK_OK(add(EgressProxy::Kind::http, text.upstream_proxy, http, proxies, notices));
  WEIR_CHECK_OK(add(EgressProxy::Kind::socks, text.upstream_socks, socks, proxies, notices));
  return proxies;
}

void note_egress(const ImageSource& source, Mode mode, std::vector<std::string>& notices) {
  if (source.egress_proxies.empty() || mode == Mode::none || mode == Mode::inbound) return;
  for (const EgressProxy& each : source.egress_proxies)
    notices.push_back("everything goes out through the upstream proxy " + egress_text(each));
  notices.emplace_back(
      "names are not asked in the DNS: the upstream proxy decides where they lead; CIDRs and the floor bind literal "
      "addresses only");
  if (!source.dns_upstreams.empty()) notices.emplace_back("dns.upstream is not used with an upstream proxy");
}

}  // namespace weir::policy
