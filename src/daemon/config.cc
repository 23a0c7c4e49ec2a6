#include "daemon/config.h"

#include <charconv>

#include "base/quantity.h"
#include "net/loopback.h"

namespace weir::daemon {

namespace {

constexpr std::uint64_t kMost = 1u << 20;

std::unexpected<Error> wrong(std::string_view option, const std::string& what, std::string remedy) {
  return std::unexpected(Error("--" + std::string(option) + ": " + what).with_remedy(std::move(remedy)));
}

template <class Number>
Result<> take_number(std::string_view option, std::string_view text, Number& out) {
  std::uint64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size() || number == 0 || number > kMost) {
    return wrong(option, "no number from 1 to " + std::to_string(kMost), "write --" + std::string(option) + "=100");
  }
  out = static_cast<Number>(number);
  return {};
}

Result<net::Endpoint> endpoint_of(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const auto not_one = [&] {
    return wrong("listen", "'" + std::string(text) + "' is no address with a port",
                 "write 127.0.0.1:8443, [::1]:8443 or localhost:8443");
  };
  if (colon == std::string_view::npos) return not_one();
  std::string_view host = text.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto address = net::IpAddress::parse(host);
  std::uint32_t port = 0;
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (!address || failed != std::errc() || end != digits.data() + digits.size() || port > 65535) return not_one();
  return net::Endpoint{*address, static_cast<net::Port>(port)};
}

Result<> take(Config& config, std::string_view option, std::string_view value) {
  if (option == "listen") {
    WEIR_TRY(config.listen, endpoint_of(value));
    return {};
  }
  if (option == "log") {
    if (value != "none" && value != "text" && value != "json")
      return wrong(option, "no form", "write text, json or none");
    config.log = value == "none" ? LogForm::none : value == "json" ? LogForm::json : LogForm::text;
    return {};
  }
  if (option == "max-sessions") return take_number(option, value, config.limits.sessions);
  if (option == "max-sessions-per-token") return take_number(option, value, config.limits.sessions_per_token);
  if (option == "max-disk-per-token") {
    WEIR_TRY(config.limits.disk_per_token, in_context(parse_size_bytes(value), "--max-disk-per-token"));
    return {};
  }
  if (option == "max-connections") return take_number(option, value, config.limits.connections);
  if (option == "grace") return take_number(option, value, config.grace_seconds);
  if (option == "socket")
    config.socket = value;
  else if (option == "token-file")
    config.token_file = value;
  else if (option == "tls-cert")
    config.tls_cert = value;
  else if (option == "tls-key")
    config.tls_key = value;
  else
    return wrong(option, "no such option", "see weir serve --help");
  return {};
}

Result<> check(const Config& config) {
  if (config.tls_cert.empty() != config.tls_key.empty()) {
    return std::unexpected(Error("one of --tls-cert and --tls-key alone").with_remedy("give both"));
  }
  if (!config.listen) return {};
  if (config.token_file.empty()) {
    return wrong("listen", "whoever can connect could run programs here",
                 "add --token-file=FILE with lines NAME:TOKEN");
  }
  if (is_off_loopback(config.listen->address) && config.tls_cert.empty()) {
    return wrong("listen", "tokens would cross the network as they are",
                 "add --tls-cert=FILE and --tls-key=FILE, or listen on 127.0.0.1");
  }
  return {};
}

}  // namespace

bool is_off_loopback(const net::IpAddress& address) {
  return !net::is_loopback(address);
}

Result<Config> parse_config(std::span<const std::string> words) {
  Config config;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (!word.starts_with("--") || equals == std::string::npos || equals + 1 == word.size()) {
      return std::unexpected(Error("'" + word + "' is no option").with_remedy("see weir serve --help"));
    }
    WEIR_CHECK_OK(
        take(config, std::string_view(word).substr(2, equals - 2), std::string_view(word).substr(equals + 1)));
  }
  WEIR_CHECK_OK(check(config));
  return config;
}

}  // namespace weir::daemon
