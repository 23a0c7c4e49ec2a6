// Every command and every option of `weir`, once.
//
// Parser, --help and docs/reference/cli.md are made from the tables behind it (option_table.cc, command_table.cc);
// nothing else knows a spelling. Each option is one entry whichever commands take it, so it means the same everywhere;
// only `-o` of `policy compile`, which prints nothing to choose a form of, is the file to write.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace weir::cli {

enum class CommandId : std::uint8_t {
  run,
  script,
  policy_check,
  policy_explain,
  policy_show,
  policy_test,
  policy_sets,
  policy_compile,
  policy_learn,
  image_import,
  image_ls,
  image_rm,
  snapshot_create,
  snapshot_ls,
  snapshot_show,
  snapshot_export,
  snapshot_import,
  snapshot_rm,
  session_run,
  session_shell,
  session_cp,
  session_ls,
  session_show,
  session_narrow,
  session_wake,
  session_rm,
  session_processes,
  session_signal,
  session_output,
  service_create,
  service_ls,
  service_show,
  service_logs,
  service_rm,
  ps,
  stop,
  exec,
  serve,
  log,
  diff,
  apply,
  seal,
  session,
  session_create,
  doctor,
  version,
  completion,
  help,
};

enum class OptionId : std::uint8_t {
  language,
  network,
  allow,
  deny,
  deny_list,
  publish,
  skip_invalid,
  policy,
  upstream_proxy,
  upstream_socks,
  upstream_proxy_auth,
  upstream_socks_auth,
  insist,
  insist_file,
  trust_this_code,
  after,
  sensitive,
  volume,
  here,
  keep_changes,
  share_sockets,
  tool,
  image,
  snapshot,
  template_name,
  workdir,
  env,
  env_file,
  no_proxy_env,
  subnet,
  user,
  timeout,
  memory,
  cpus,
  pids,
  disk,
  name,
  snapshot_name,
  id,
  label,
  ttl,
  idle,
  on_idle,
  bootstrap,
  bootstrap_file,
  restart,
  interactive,
  terminal,
  remove,
  detach,
  freeze,
  keep_files,
  all,
  events,
  control,
  receipt,
  follow,
  event_type,
  event_name,
  verdict,
  summary,
  dry_run,
  patch,
  discard,
  output,
  compiled_policy,
  learned_policy,
  from,
  socket,
  listen,
  token_file,
  tls_cert,
  tls_key,
  max_sessions,
  max_sessions_per_token,
  max_disk_per_token,
  max_connections,
  grace,
  log_form,
  json,
  quiet,
  debug,
  markdown,
  man,
  help,
};

// The commands that take an option: a set of CommandId.
using CommandSet = std::uint64_t;
constexpr CommandSet only(CommandId command) {
  return CommandSet{1} << static_cast<unsigned>(command);
}
template <class... Ids>
constexpr CommandSet any_of(Ids... commands) {
  return static_cast<CommandSet>((only(commands) | ...));
}

enum class ValueKind : std::uint8_t {
  none,      // a flag
  required,  // --opt VALUE, --opt=VALUE, -oVALUE, -o VALUE
  optional,  // --opt, --opt=VALUE: the next word is never taken
};

enum class Repeat : std::uint8_t {
  once,  // a second value is an error: which one was meant?
  many,  // every occurrence counts, in order
};

// What the help groups by.
enum class Group : std::uint8_t { network, files, process, output };
std::string_view title_of(Group group);

struct OptionSpec {
  OptionId id;
  Group group;
  std::string_view name;                      // without "--"
  std::span<const std::string_view> aliases;  // without "--"
  char letter;                                // '\0': has no short form
  ValueKind value;
  std::string_view metavar;  // empty for a flag
  Repeat repeat;
  CommandSet commands;
  std::string_view help;     // one paragraph, no newline
  std::string_view example;  // the option as one would type it
};

struct Example {
  std::string_view command;
  std::string_view says;
};

struct CommandSpec {
  CommandId id;
  std::string_view name;      // "run", "policy check"
  std::string_view operands;  // as in the usage line; empty: takes none
  std::uint8_t min_operands;
  std::uint8_t max_operands;  // 255: any number
  // True for run and script: the first word that is no option ends the options, the rest belongs to the command that
  // runs inside.
  bool first_operand_ends_options;
  std::string_view summary;      // half a line
  std::string_view description;  // one paragraph, no newline
  std::span<const Example> examples;
};

std::span<const OptionSpec> all_options();
std::span<const CommandSpec> all_commands();

const CommandSpec& spec_of(CommandId command);
const OptionSpec& spec_of(OptionId option);

// By "name" or alias, without "--"; by letter. One that the command takes is preferred. Null when no option is spelled
// so.
const OptionSpec* find_long_option(std::string_view name, CommandId command);
const OptionSpec* find_short_option(char letter, CommandId command);
bool takes(CommandId command, const OptionSpec& option);

// The words that may follow `prefix`, which is empty or ends with a space: "policy" once, then its subcommands.
std::vector<std::string_view> command_words_after(std::string_view prefix);

}  // namespace weir::cli
