#include "cli/environment.h"

#include <algorithm>
#include <iterator>

#include "net/proxy_ports.h"
#include "sys/files.h"

namespace weir::cli {
namespace {

bool is_name_start(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}
bool is_name_char(char c) {
  return is_name_start(c) || (c >= '0' && c <= '9');
}

bool is_valid_name(std::string_view name) {
  return !name.empty() && is_name_start(name.front()) && std::ranges::all_of(name, is_name_char);
}

// LANG and TERM come from the caller and are read by every program inside; nothing but plain names passes.
bool is_plain(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return is_name_char(c) || c == '.' || c == '-' || c == '+' || c == '@';
  });
}

Variables initial_environment(const Caller& caller, const sandbox::User& user) {
  // ~/.local/bin is where pip installs programs for a user.
  const std::string path = user.home + "/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  return {{"PATH", path},
          {"HOME", user.home},
          {"USER", user.name},
          {"LANG", plain_variable(caller, "LANG").value_or("C.UTF-8")},
          {"TERM", plain_variable(caller, "TERM").value_or("dumb")},
          {"WEIR", "1"}};
}

void set(Variables& variables, const std::string& name, std::string value) {
  const auto known = std::ranges::find(variables, name, &Variables::value_type::first);
  if (known == variables.end()) {
    variables.emplace_back(name, std::move(value));
  } else {
    known->second = std::move(value);
  }
}

Result<> check_sizes(const Variables& variables) {
  std::size_t total = 0;
  for (const auto& [name, value] : variables) {
    const std::size_t size = name.size() + 1 + value.size();
    if (size > kMaxVariableBytes) {
      return std::unexpected(Error("environment variable " + name + ": longer than " +
                                   std::to_string(kMaxVariableBytes) + " bytes, which no program can be given")
                                 .with_remedy("share it as a file with -v"));
    }
    total += size + 1;
  }
  if (total <= kMaxEnvironmentBytes) return {};
  return std::unexpected(Error("the environment is larger than " + std::to_string(kMaxEnvironmentBytes) + " bytes")
                             .with_remedy("share large values as files with -v"));
}

}  // namespace

Result<VariableRequest> parse_variable(std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string name(text.substr(0, equals));
  if (!is_valid_name(name)) {
    return std::unexpected(
        Error("'" + name + "' is no name of an environment variable").with_remedy("write NAME=VALUE or NAME"));
  }
  if (text.find('\0') != std::string_view::npos) return fail("the value of " + name + " contains a NUL byte");
  if (equals == std::string_view::npos) return VariableRequest{name, std::nullopt};
  return VariableRequest{name, std::string(text.substr(equals + 1))};
}

Result<std::vector<VariableRequest>> parse_env_file(std::string_view text, std::string_view path) {
  std::vector<VariableRequest> requests;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    if (line.empty() || line.front() == '#') continue;
    Result<VariableRequest> request = parse_variable(line);
    if (!request) {
      const std::string where = std::string(path) + ":" + std::to_string(number);
      return std::unexpected(std::move(request).error().context(where));
    }
    requests.push_back(std::move(*request));
  }
  return requests;
}

Result<std::vector<VariableRequest>> variable_requests(const CommandLine& line) {
  std::vector<VariableRequest> requests;
  for (const std::string& file : line.values(OptionId::env_file)) {
    Result<std::string> text = sys::read_file(file, kMaxEnvFileBytes);
    if (!text) return std::unexpected(std::move(text).error().context("option --env-file"));
    WEIR_TRY(std::vector<VariableRequest> read, parse_env_file(*text, file));
    std::ranges::move(read, std::back_inserter(requests));
  }
  for (const std::string& variable : line.values(OptionId::env)) {
    Result<VariableRequest> request = parse_variable(variable);
    if (!request) return std::unexpected(std::move(request).error().context("option -e"));
    requests.push_back(std::move(*request));
  }
  return requests;
}

std::optional<std::string> plain_variable(const Caller& caller, std::string_view name) {
  const auto text = caller.variable(name);
  return text && is_plain(*text) ? std::optional(std::string(*text)) : std::nullopt;
}

Variables proxy_variables(const net::IpAddress& gateway) {
  const std::string http = "http://" + net::Endpoint{gateway, net::kHttpProxyPort}.text();
  const std::string socks = "socks5h://" + net::Endpoint{gateway, net::kSocksProxyPort}.text();
  // What a program asks of its own machine is inside, not at the gateway.
  const std::string own = "localhost,127.0.0.1,::1";
  return {{"HTTP_PROXY", http},  {"http_proxy", http}, {"HTTPS_PROXY", http},
          {"https_proxy", http}, {"ALL_PROXY", socks}, {"all_proxy", socks},
          {"NO_PROXY", own},     {"no_proxy", own},    {"NODE_USE_ENV_PROXY", "1"}};
}

Result<Variables> guest_environment(const Caller& caller, const sandbox::User& user, const Variables& proxies,
                                    const std::vector<std::string>& image_variables,
                                    const std::vector<VariableRequest>& requests, std::vector<std::string>& notices) {
  Variables variables = initial_environment(caller, user);
  variables.insert(variables.end(), proxies.begin(), proxies.end());
  for (const std::string& text : image_variables) {
    const auto variable = parse_variable(text);
    if (!variable || !variable->value) {
      notices.push_back("the image sets something that is no environment variable; it is left out");
    } else if (variable->name != "WEIR") {
      set(variables, variable->name, *variable->value);
    }
  }
  for (const VariableRequest& request : requests) {
    if (request.value) {
      set(variables, request.name, *request.value);
    } else if (const auto value = caller.variable(request.name)) {
      set(variables, request.name, std::string(*value));
    } else {
      notices.push_back("environment variable " + request.name + " is not set here, so it is not set inside");
    }
  }
  WEIR_CHECK_OK(check_sizes(variables));
  return variables;
}

}  // namespace weir::cli
