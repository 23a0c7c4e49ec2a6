#include <algorithm>
#include <cstdio>
#include <limits>

#include "base/json_document.h"
#include "daemon/bodies.h"
#include "daemon/body_fields.h"
#include "wire/labels.h"

namespace weir::daemon {

namespace {

using wire::Answer;
using wire::ErrorCode;
using wire::JsonFields;
using wire::quoted_key;
using wire::refuse;

constexpr std::int64_t kMaxSeconds = 365 * 24 * 3600;
constexpr std::size_t kMaxPorts = 64;
// As weir session create takes it.
constexpr std::size_t kMaxBootstrap = 120'000;

// The words of one `weir session create`, put together from a body.
class Words {
 public:
  explicit Words(JsonFields& fields) : fields_(fields) {}

  Result<> text(const char* key, const char* option) {
    std::optional<std::string> value;
    WEIR_CHECK_OK(fields_.text(key, value));
    if (!value) return {};
    if (value->empty()) return fail(quoted_key(key) + " is empty");
    add(option, *value);
    return {};
  }
  // A name, which is never a path.
  Result<> name(const char* key, const char* option) {
    std::optional<std::string> value;
    WEIR_CHECK_OK(fields_.text(key, value));
    if (!value) return {};
    if (!is_plain_name(*value)) return fail(quoted_key(key) + " is no name");
    add(option, *value);
    return {};
  }
  Result<> texts(const char* key, const char* option, std::size_t most = JsonFields::kMaxItems) {
    std::vector<std::string> values;
    WEIR_CHECK_OK(fields_.texts(key, values));
    if (values.size() > most) return fail(quoted_key(key) + " is too long");
    for (const std::string& value : values) {
      if (value.empty()) return fail("an empty text in " + quoted_key(key));
      add(option, value);
    }
    return {};
  }
  Result<> number(const char* key, const char* option, std::int64_t most, const char* unit) {
    std::int64_t value = 0;
    WEIR_CHECK_OK(fields_.integer(key, value));
    if (!fields_.has(key)) return {};
    if (value < 1 || value > most) return fail(quoted_key(key) + " is not between 1 and " + std::to_string(most));
    add(option, std::to_string(value) + unit);
    return {};
  }

  Result<> network() {
    if (fields_.has("network") && fields_.has("network_mode")) return fail("'network' and 'network_mode' are one key");
    for (const char* key : {"network", "network_mode"}) {
      const Json* const mode = fields_.member(key);
      // It needs a flag that is said nowhere here; this is for a message that makes sense.
      if (mode != nullptr && *mode == "host") return fail("'host' is no network of a sandbox");
    }
    WEIR_CHECK_OK(text("network", "net"));
    WEIR_CHECK_OK(text("network_mode", "net"));
    WEIR_CHECK_OK(texts("network_allowlist", "allow"));
    WEIR_CHECK_OK(texts("network_denylist", "deny"));
    WEIR_CHECK_OK(texts("insist", "insist"));
    std::optional<std::string> policy;
    WEIR_CHECK_OK(fields_.text("policy", policy));
    if (!policy) return {};
    made_.policy = *policy + "\n";
    add("policy", "/dev/fd/" + std::to_string(CreateWords::kPolicyFd));
    return {};
  }

  Result<> environment() {
    JsonFields::Pairs variables;
    WEIR_CHECK_OK(fields_.pairs("env", variables));
    for (const auto& [name, value] : variables) {
      if (!is_variable_name(name)) return fail("a key of 'env' is no name of a variable");
      // Lines are what such a file is made of.
      if (value.find_first_of("\r\n") != std::string::npos) {
        return std::unexpected(Error("a value of 'env' has more than one line").with_remedy("give it to each run"));
      }
      made_.env_file += name + "=" + value + "\n";
    }
    // On the command line other users could read it.
    if (!variables.empty()) add("env-file", "/dev/fd/" + std::to_string(CreateWords::kEnvFileFd));
    return {};
  }

  Result<> limits() {
    const Json* const member = fields_.member("limits");
    if (member == nullptr) return {};
    if (!member->is_object()) return fail("'limits' is no object");
    JsonFields inner(*member);
    Words words(inner);
    WEIR_CHECK_OK(words.text("memory", "memory"));
    WEIR_CHECK_OK(words.text("disk", "disk"));
    WEIR_CHECK_OK(words.number("pids", "pids", std::numeric_limits<std::int64_t>::max(), ""));
    if (const Json* const cpus = inner.member("cpus"); cpus != nullptr) {
      if (!cpus->is_number()) return fail("'cpus' is no number");
      std::array<char, 400> text{};  // for 1e308 as well: what is too much is said by who knows
      std::snprintf(text.data(), text.size(), "%.3f", cpus->get<double>());
      words.add("cpus", text.data());
    }
    WEIR_CHECK_OK(inner.nothing_else());
    made_.words.insert(made_.words.end(), words.made_.words.begin(), words.made_.words.end());
    return {};
  }

  Result<> labels() {
    JsonFields::Pairs labels;
    WEIR_CHECK_OK(fields_.pairs("labels", labels));
    WEIR_CHECK_OK(wire::check_labels(labels));
    for (const auto& [key, value] : labels) add("label", key + "=" + value);
    return {};
  }

  // What every way of making a sandbox takes.
  Result<> sandbox() {
    WEIR_CHECK_OK(network());
    for (const char* key : {"image", "template", "snapshot"}) WEIR_CHECK_OK(name(key, key));
    WEIR_CHECK_OK(environment());
    return limits();
  }

  // What a session that lives on takes besides.
  Result<> session() {
    WEIR_CHECK_OK(sandbox());
    WEIR_CHECK_OK(name("name", "name"));
    WEIR_CHECK_OK(text("network_proxy_url", "upstream-proxy"));
    WEIR_CHECK_OK(text("network_socks_url", "upstream-socks"));
    std::optional<std::string> backend;
    WEIR_CHECK_OK(fields_.text("backend", backend));
    if (backend && *backend != "process" && *backend != "userns" && *backend != "qemu") {
      return fail("'backend' is neither process nor qemu");
    }
    WEIR_CHECK_OK(number("ttl_seconds", "ttl", kMaxSeconds, "s"));
    WEIR_CHECK_OK(number("idle_seconds", "idle", kMaxSeconds, "s"));
    WEIR_CHECK_OK(name("on_idle", "on-idle"));
    WEIR_CHECK_OK(texts("ports", "publish", kMaxPorts));
    return labels();
  }

  Result<> service() {
    for (const char* key : {"name", "ports", "bootstrap"}) {
      if (!fields_.has(key)) return fail(std::string("no '") + key + "'");
    }
    const Json* const script = fields_.member("bootstrap");
    if (script != nullptr && script->is_string() && script->get<std::string>().size() > kMaxBootstrap) {
      return fail("'bootstrap' is too long; put it into a snapshot");
    }
    WEIR_CHECK_OK(fields_.text("bootstrap", made_.bootstrap));
    if (made_.bootstrap.empty()) return fail("'bootstrap' is empty");
    add("bootstrap-file", "/dev/fd/" + std::to_string(CreateWords::kBootstrapFd));
    return name("restart", "restart");
  }

  CreateWords take() { return std::move(made_); }

 private:
  void add(std::string_view option, std::string_view value) {
    made_.words.push_back("--" + std::string(option) + "=" + std::string(value));
  }

  JsonFields& fields_;
  CreateWords made_;
};

// "8080:80", "0:80/udp", with "127.0.0.1:" or without.
bool is_high_loopback_port(std::string_view text) {
  if (text.starts_with("127.0.0.1:")) text.remove_prefix(10);
  const std::size_t colon = text.find(':');
  const std::string_view host = text.substr(0, colon);
  if (colon == std::string_view::npos || host.empty() || host.size() > 5) return false;
  if (!std::ranges::all_of(host, [](char c) { return c >= '0' && c <= '9'; })) return false;
  if (text.find(':', colon + 1) != std::string_view::npos) return false;
  const int port = std::stoi(std::string(host));
  return port == 0 || port >= 1024;
}

std::unexpected<wire::Refusal> owners_only(const char* what) {
  return refuse(ErrorCode::forbidden, std::string(what) + " is for the machine's owner",
                "leave it out, or ask by the unix socket of weir serve");
}

template <class Check>
bool all_texts(const Json* list, Check check) {
  if (list == nullptr || !list->is_array()) return true;  // of another type: refused as such
  return std::ranges::all_of(*list,
                             [&](const Json& item) { return !item.is_string() || check(item.get<std::string>()); });
}

}  // namespace

bool is_plain_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && text.front() != '.' && text.front() != '-' &&
         std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  std::string_view("_.:-").contains(c);
         });
}

bool is_variable_name(std::string_view text) {
  return !text.empty() && text.size() <= 256 && !(text.front() >= '0' && text.front() <= '9') &&
         std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
         });
}

Answer<> check_reach(const Json& body, const Principal& who) {
  if (who.is_owner()) return {};
  if (body.contains("policy")) return owners_only("'policy', which can name files of the machine,");
  if (body.contains("network_proxy_url") || body.contains("network_socks_url")) {
    return owners_only("a proxy, which weir itself connects to,");
  }
  const auto harmless = [](const std::string& text) { return text == "taint" || text.starts_with("broad="); };
  if (!all_texts(json_member(body, "insist"), harmless)) return owners_only("to insist on that");
  if (!all_texts(json_member(body, "ports"), is_high_loopback_port)) {
    return owners_only("a port that is not on 127.0.0.1, or below 1024,");
  }
  return {};
}

Result<CreateWords> sandbox_words(JsonFields& fields) {
  Words words(fields);
  WEIR_CHECK_OK(words.sandbox());
  return words.take();
}

Answer<CreateWords> parse_create(std::string_view body, Making making, const Principal& who) {
  WEIR_TRY(const Json object, body_object(body));
  WEIR_CHECK_OK(check_reach(object, who));
  // Namespaces of this kernel are what there is: said again, they change nothing.
  if (const Json* const backend = json_member(object, "backend"); backend != nullptr && *backend == "qemu") {
    return refuse(ErrorCode::cannot_enforce, "backend qemu: not available in this version", "leave it out");
  }
  JsonFields fields(object);
  Words words(fields);
  WEIR_CHECK_OK(as_bad_request(words.session()));
  if (making == Making::service) WEIR_CHECK_OK(as_bad_request(words.service()));
  WEIR_CHECK_OK(as_bad_request(fields.nothing_else()));
  return words.take();
}

}  // namespace weir::daemon
