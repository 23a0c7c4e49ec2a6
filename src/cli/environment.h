// The environment of the command inside: it starts empty.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/command.h"
#include "sandbox/spec.h"

namespace weir::cli {

// execve() refuses a string of 128 KiB (MAX_ARG_STRLEN) including its NUL.
inline constexpr std::size_t kMaxVariableBytes = 128 * 1024 - 1;
// Well below the 2 MiB that arguments and environment share under the usual stack limit.
inline constexpr std::size_t kMaxEnvironmentBytes = 1024 * 1024;
inline constexpr std::size_t kMaxEnvFileBytes = kMaxEnvironmentBytes;

// One `-e` or one line of an env file: a name with a value, or a name to copy from the caller.
struct VariableRequest {
  std::string name;
  std::optional<std::string> value;
};

// "NAME=VALUE" or "NAME"; a name is [A-Za-z_][A-Za-z0-9_]*.
Result<VariableRequest> parse_variable(std::string_view text);

// One request per line; blank lines and lines that begin with # are skipped, values are taken as they stand (no quotes,
// no expansion). Errors name `path` and the line.
Result<std::vector<VariableRequest>> parse_env_file(std::string_view text, std::string_view path);

// --env-file and -e, files first: what stands on the command line wins.
Result<std::vector<VariableRequest>> variable_requests(const CommandLine& line);

// A variable of the caller that is a plain name of up to 64 letters, as LANG and TERM are.
std::optional<std::string> plain_variable(const Caller& caller, std::string_view name);

// The gateway's proxies as programs look for them (policy.md section 5), in both spellings of each name.
Variables proxy_variables(const net::IpAddress& gateway);

// PATH, HOME, USER, LANG, TERM and WEIR=1, then `proxies`, then what an image sets (NAME=VALUE; WEIR stays), then
// `requests` in order, later ones replacing earlier ones. A name that the caller does not have is left out and said in
// `notices`.
Result<Variables> guest_environment(const Caller& caller, const sandbox::User& user, const Variables& proxies,
                                    const std::vector<std::string>& image_variables,
                                    const std::vector<VariableRequest>& requests, std::vector<std::string>& notices);

}  // namespace weir::cli
