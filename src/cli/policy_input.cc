#include "cli/policy_input.h"

#include "cli/snapshot_input.h"

#include <algorithm>

#include "policy/compiled/image.h"
#include "policy/text/name_list.h"
#include "policy/text/policy_file.h"
#include "sys/files.h"

namespace weir::cli {
namespace {

std::unexpected<Error> not_yet(const std::string& what, std::string remedy) {
  return std::unexpected(Error(what + ": not available in this version").with_remedy(std::move(remedy)));
}

Result<std::optional<policy::TextFile>> read_floor(const Caller& caller) {
  Result<std::optional<std::string>> text = sys::read_operator_file(caller.floor_path, policy::kMaxPolicyText);
  if (!text) return std::unexpected(std::move(text).error().context("the operator's floor is not usable"));
  if (!*text) return std::nullopt;
  return policy::TextFile{.name = caller.floor_path, .text = std::move(**text)};
}

Result<> check_host_mode(policy::Mode mode, const CommandLine& line) {
  const bool trusted = line.has(OptionId::trust_this_code);
  if (mode == policy::Mode::host && !trusted) {
    return std::unexpected(Error("--net host: the command would have the network of this machine, without a gateway "
                                 "and without a record")
                               .with_remedy("add --i-trust-this-code, or write --net open to keep the gateway"));
  }
  if (mode != policy::Mode::host && trusted) {
    return std::unexpected(
        Error("option --i-trust-this-code: says nothing without --net host").with_remedy("leave it out"));
  }
  return {};
}

// A policy file, written or compiled. A compiled one is copied first: its file may change at any time, and what was
// checked must be what decides.
Result<> read_session(const std::string& path, PolicyInput& input) {
  constexpr std::size_t kMaxCompiledBytes = std::size_t{1} << 30;
  if (!sys::begins_with(path, as_bytes(policy::Image::kFamily))) {
    WEIR_TRY(input.compile.session.file, read_text_file(path));
    return {};
  }
  WEIR_TRY(input.compiled_file, sys::copy_to_memory(path, "weir-policy", kMaxCompiledBytes));
  WEIR_TRY(input.mapping, sys::Mapping::of(input.compiled_file));
  input.compile.session.compiled = policy::CompiledFile{.name = path, .bytes = input.mapping.bytes()};
  return {};
}

}  // namespace

Result<policy::TextFile> read_text_file(const std::string& path) {
  Result<std::string> text = sys::read_file(path, policy::kMaxPolicyText);
  if (!text) return std::unexpected(std::move(text).error().with_remedy("name a file that can be read"));
  return policy::TextFile{.name = path, .text = std::move(*text)};
}

Result<PolicyInput> policy_input(const CommandLine& line, const Caller& caller) {
  PolicyInput input;
  WEIR_TRY(input.compile.floor, read_floor(caller));
  if (const auto path = line.value(OptionId::policy)) {
    WEIR_CHECK_OK(read_session(*path, input));
  }
  policy::PolicyFlags& session = input.compile.session;
  session.mode = line.value(OptionId::network).value_or("");
  if (line.has(OptionId::network) && session.mode.empty()) {
    return std::unexpected(Error("option --net: the mode is empty").with_remedy("write --net none or another mode"));
  }
  session.allow = line.values(OptionId::allow);
  session.deny = line.values(OptionId::deny);
  session.deny_lists = line.values(OptionId::deny_list);
  session.insist = line.values(OptionId::insist);
  // Not about the policy: snapshot_input.h.
  if (takes(line.command, spec_of(OptionId::snapshot))) std::erase(session.insist, kInsistTaint);
  session.publish = line.values(OptionId::publish);
  session.upstream_proxy = line.value(OptionId::upstream_proxy).value_or("");
  session.upstream_socks = line.value(OptionId::upstream_socks).value_or("");
  session.upstream_proxy_auth = line.value(OptionId::upstream_proxy_auth).value_or("");
  session.upstream_socks_auth = line.value(OptionId::upstream_socks_auth).value_or("");
  session.after = line.value(OptionId::after).value_or("");
  if (line.has(OptionId::after) && session.after.empty()) {
    return std::unexpected(
        Error("option --after: the mode is empty").with_remedy("write --after none or another mode"));
  }
  input.compile.read_list = [](const std::string& path) { return sys::read_file(path, policy::kMaxListBytes); };
  if (line.has(OptionId::skip_invalid)) input.compile.invalid_lines = policy::InvalidLines::skipped;
  return input;
}

Result<PolicyInput> policy_input_of_file(const std::string& path, const CommandLine& line, const Caller& caller) {
  WEIR_TRY(PolicyInput input, policy_input(line, caller));
  WEIR_CHECK_OK(read_session(path, input));
  return input;
}

Result<sys::OwnedFd> finish_compiled(PolicyInput input, const policy::ImagePatch& patch) {
  WEIR_CHECK_OK(sys::append(input.compiled_file, patch.tail));
  WEIR_CHECK_OK(sys::overwrite(input.compiled_file, 0, patch.head));
  WEIR_CHECK_OK(sys::seal(input.compiled_file));
  return std::move(input.compiled_file);
}

Result<> check_runnable(const policy::Compiled& compiled, const CommandLine& line) {
  WEIR_CHECK_OK(check_host_mode(compiled.mode, line));
  const auto is_tls = [](const policy::DnsUpstream& upstream) {
    return upstream.transport == policy::DnsUpstream::Transport::tls;
  };
  if (std::ranges::any_of(compiled.source.dns_upstreams, is_tls)) {
    return not_yet("dns.upstream with tls://", "write the address without tls://");
  }
  return {};
}

}  // namespace weir::cli
