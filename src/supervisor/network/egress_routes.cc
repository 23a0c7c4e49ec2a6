#include "supervisor/network/egress_routes.h"

#include <algorithm>
#include <cstdlib>

#include "sys/files.h"
#include "wire/tunnel_client.h"

namespace weir::supervisor {

namespace {

constexpr std::size_t kMaxFileBytes = 1024;

std::string place_of(const policy::EgressProxy& proxy) {
  const bool file = proxy.credentials_in == policy::EgressProxy::CredentialsIn::file;
  return (file ? "file:" : "env:") + proxy.credentials;
}

Result<std::string> read_credentials(const policy::EgressProxy& proxy) {
  if (proxy.credentials_in == policy::EgressProxy::CredentialsIn::variable) {
    const char* const value = std::getenv(proxy.credentials.c_str());
    if (value == nullptr) return fail("the variable " + proxy.credentials + " is not set");
    return std::string(value);
  }
  WEIR_TRY(std::string text, sys::read_file(proxy.credentials, kMaxFileBytes));
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

// What both protocols can say (RFC 7617 2, RFC 1929 2).
bool is_usable(std::string_view credentials) {
  const std::size_t colon = credentials.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > wire::TunnelClient::kMaxCredential) return false;
  const std::size_t password = credentials.size() - colon - 1;
  if (password == 0 || password > wire::TunnelClient::kMaxCredential) return false;
  return std::ranges::none_of(credentials, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace

Result<std::vector<dial::EgressRoute>> egress_routes(std::span<const policy::EgressProxy> proxies) {
  std::vector<dial::EgressRoute> routes;
  for (const policy::EgressProxy& proxy : proxies) {
    dial::EgressRoute route{.proxy = proxy, .credentials = {}};
    if (proxy.credentials_in != policy::EgressProxy::CredentialsIn::nowhere) {
      WEIR_TRY(route.credentials,
               in_context(read_credentials(proxy), "cannot read the credentials of the upstream proxy"));
      if (!is_usable(route.credentials)) {
        return std::unexpected(
            Error("the credentials of the upstream proxy (" + place_of(proxy) + ") are not user:password")
                .with_remedy("write one line user:password, each of 1 to 255 bytes"));
      }
    }
    routes.push_back(std::move(route));
  }
  return routes;
}

}  // namespace weir::supervisor
