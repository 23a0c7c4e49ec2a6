#include "cli/option_table.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace weir::cli {
namespace {

using enum CommandId;
using enum ValueKind;

constexpr CommandSet kAll = ~CommandSet{0};
constexpr CommandSet kRun = any_of(run, script);
// What starts a sandbox: its files, its process.
constexpr CommandSet kStarts = any_of(run, script, policy_learn);
// What makes a sandbox, whatever is to run in it.
constexpr CommandSet kMakes = any_of(run, script, policy_learn, session_create);
constexpr CommandSet kJudges = any_of(run, script, session_create);
constexpr CommandSet kDenies =
    any_of(run, script, session_create, policy_explain, policy_show, policy_compile, policy_learn);
constexpr CommandSet kPolicyFlags = any_of(run, script, session_create, policy_explain, policy_show, policy_compile);
constexpr CommandSet kInsist =
    any_of(run, script, session_create, policy_check, policy_explain, policy_show, policy_test, policy_compile);
// A process in a session, which may be narrower than its session.
constexpr CommandSet kInSession = any_of(session_run, exec);
constexpr CommandSet kNarrows = kInSession | only(session_narrow);
constexpr CommandSet kPrints =
    any_of(run, script, policy_check, policy_explain, policy_show, policy_test, policy_sets, image_import, image_ls,
           image_rm, session_create, session_run, session_ls, session_show, session_narrow, session_processes,
           service_ls, service_show, ps, exec, log, diff, apply, seal, doctor, version);

constexpr std::array<std::string_view, 0> kNoAliases = {};
constexpr std::array<std::string_view, 1> kNetworkAliases = {"network"};

constexpr std::array kOptions = {
    OptionSpec{OptionId::language, Group::process, "language", kNoAliases, 's', required, "LANG", Repeat::once,
               only(script),
               "The operand is code in this language, not a file; - reads it from standard input. python, bash, sh, "
               "javascript, typescript, ruby, perl, php, lua, c, c++, go, rust, java, or a usual short name.",
               "-s python 'print(6 * 7)'"},
    OptionSpec{OptionId::network, Group::network, "net", kNetworkAliases, 'n', required, "MODE", Repeat::once,
               kPolicyFlags | kNarrows,
               "What the sandbox may reach. none (also blocked, zerotrust, off): nothing but its own loopback; the "
               "default. inbound (mounts, mounts_only): the same, and published ports. allowlist: only what --allow "
               "and the policy name; --allow alone means this. public (public_only; denylist, which asks for a "
               "--deny): every globally reachable address, nothing private. semitrusted: the web only, with "
               "bounds on volume and speed. open (allow_all, full): everything but what is denied and the hard floor. "
               "host: the "
               "network of the host itself, with no gateway and no record; needs --i-trust-this-code. A mode given "
               "here replaces the one in the policy file.",
               "-n allowlist"},
    OptionSpec{OptionId::allow, Group::network, "allow", kNoAliases, '\0', required, "TARGET[,TARGET...]", Repeat::many,
               kPolicyFlags | kNarrows,
               "Allow a destination: [proto://]destination[:ports], where destination is a name (example.com), all "
               "names below one (*.example.com), both (.example.com), an address, a block, a class (@private) or a "
               "set (@pypi).",
               "--allow pypi.org,files.pythonhosted.org:443"},
    OptionSpec{OptionId::deny, Group::network, "deny", kNoAliases, '\0', required, "TARGET[,TARGET...]", Repeat::many,
               kDenies | kNarrows, "Refuse a destination, written as for --allow; a match here wins over every allow.",
               "--net open --deny '*.tracking.example'"},
    OptionSpec{
        OptionId::deny_list, Group::network, "deny-list", kNoAliases, '\0', required, "[FORMAT:]FILE", Repeat::many,
        kPolicyFlags,
        "Refuse every name in a file: plain names, a hosts file, an AdGuard-style list or an RPZ zone; which one "
        "it is weir sees by itself, or FORMAT says it (names, hosts, adguard, rpz).",
        "--net public --deny-list ads.txt"},
    OptionSpec{OptionId::publish, Group::network, "publish", kNoAliases, 'p', required, "[BIND:]HOST:GUEST[/tcp|/udp]",
               Repeat::many, kPolicyFlags,
               "Lead a port of this machine (TCP, or with /udp UDP) to a port that the command listens on, on its own "
               "loopback. BIND is the address of this machine, by default 127.0.0.1; IPv6 in brackets. HOST 0 is any "
               "free port, which is printed. It opens nothing outward: alone it means --net inbound.",
               "-p 8080:80"},
    OptionSpec{OptionId::skip_invalid, Group::network, "skip-invalid", kNoAliases, '\0', none, "", Repeat::once,
               kInsist,
               "Leave out lines of imported lists that deny nothing, and say at start how many; without it they are an "
               "error.",
               "--deny-list ads.txt --skip-invalid"},
    OptionSpec{
        OptionId::policy, Group::network, "policy", kNoAliases, '\0', required, "FILE", Repeat::once,
        kPolicyFlags | only(session_narrow),
        "Read the policy from a TOML file, or from what weir policy compile made of one; --net, --allow and --deny "
        "add to it. weir never looks for a policy file by itself.",
        "--policy agents.toml"},
    OptionSpec{
        OptionId::upstream_proxy, Group::network, "upstream-proxy", kNoAliases, '\0', required, "URL", Repeat::once,
        kPolicyFlags,
        "Send everything that is admitted through an HTTP proxy of your own (CONNECT), by name where the name is "
        "known: http://ADDRESS:PORT. The policy is asked first. No name is asked in the DNS, UDP and ICMP are "
        "off, and where a name leads is the proxy's decision: blocks of addresses and the floor bind literal "
        "addresses only.",
        "--upstream-proxy http://127.0.0.1:8080"},
    OptionSpec{OptionId::upstream_socks, Group::network, "upstream-socks", kNoAliases, '\0', required, "URL",
               Repeat::once, kPolicyFlags,
               "The same through a SOCKS5 proxy: socks5h://ADDRESS:PORT. Beside --upstream-proxy it carries every port "
               "but 80 and 443.",
               "--upstream-socks socks5h://127.0.0.1:1080"},
    OptionSpec{
        OptionId::upstream_proxy_auth, Group::network, "upstream-proxy-auth", kNoAliases, '\0', required,
        "file:PATH|env:NAME", Repeat::once, kPolicyFlags,
        "Where user:password for --upstream-proxy is: a file (its whole path) or a variable of the caller. It is "
        "read by weir alone, and is in no record, no policy and nothing inside.",
        "--upstream-proxy-auth env:PROXY_USER"},
    OptionSpec{OptionId::upstream_socks_auth, Group::network, "upstream-socks-auth", kNoAliases, '\0', required,
               "file:PATH|env:NAME", Repeat::once, kPolicyFlags, "The same for --upstream-socks.",
               "--upstream-socks-auth file:/home/me/.socks-user"},
    OptionSpec{OptionId::insist, Group::network, "insist", kNoAliases, '\0', required, "WHAT", Repeat::many,
               kInsist | only(session_narrow),
               "Accept what weir otherwise refuses, named exactly: broad=PATTERN for a wildcard over a public suffix, "
               "floor=ADDRESS for an address of the hard floor. Printed at start.",
               "--insist 'broad=*.github.io'"},
    OptionSpec{OptionId::insist_file, Group::files, "insist", kNoAliases, '\0', required, "file=PATH", Repeat::many,
               only(apply),
               "Take over this one change although it would be run outside by itself, leads out of the folder, or its "
               "place here has changed since; each is named by itself, a folder not for what is in it.",
               "--insist file=.envrc"},
    OptionSpec{OptionId::trust_this_code, Group::network, "i-trust-this-code", kNoAliases, '\0', none, "", Repeat::once,
               kJudges, "Required with --net host, which gives the command the network of the host.",
               "--net host --i-trust-this-code"},
    OptionSpec{
        OptionId::after, Group::network, "after", kNoAliases, '\0', required, "MODE", Repeat::once, kPolicyFlags,
        "The mode from a moment on: when a file of --sensitive is first opened, when somebody says weir seal, or "
        "when the command writes a byte to the descriptor that WEIR_SEAL names. Never wider than --net, entered "
        "once and never left; the [after] section of a policy file can say more.",
        "--allow @pypi --after none"},
    OptionSpec{OptionId::volume, Group::files, "volume", kNoAliases, 'v', required, "SRC:DST[:ro|:copy|:overlay]",
               Repeat::many, kMakes,
               "Share a file or folder of the host, for reading and writing unless it says otherwise. copy works on a "
               "copy; overlay writes into a private layer. Folders that carry sockets (/run, /tmp, $HOME ...) are "
               "refused without --share-sockets.",
               "-v ./data:/data:ro"},
    OptionSpec{
        OptionId::sensitive, Group::files, "sensitive", kNoAliases, '\0', required, "PATH", Repeat::many, kJudges,
        "A file of a share, or a folder with all files that it holds at start, named as this machine names it: "
        "before the first open of one of them goes on, by whomever, the sandbox enters its [after] (--after), and "
        "connections that lost their permission are gone. Where an open could not be seen nothing starts.",
        "-v ./customer:/data:ro --sensitive ./customer"},
    OptionSpec{OptionId::here, Group::files, "here", kNoAliases, '\0', optional, "ro|overlay|rw-all", Repeat::once,
               kMakes,
               "Share the current folder at the same path and start there. What would run later outside (.git/hooks, "
               ".envrc, .vscode ...) stays read-only unless it is rw-all. Refused for $HOME and /.",
               "--here=overlay"},
    OptionSpec{OptionId::keep_changes, Group::files, "keep-changes", kNoAliases, '\0', none, "", Repeat::once, kStarts,
               "Keep what was written into overlays under the user's state folder, for weir diff and weir apply: up to "
               "2 GiB of contents and 200,000 paths a run, the newest 16 runs, for 30 days. Without it an overlay is "
               "gone at the end.",
               "--here=overlay --keep-changes"},
    OptionSpec{OptionId::share_sockets, Group::files, "share-sockets", kNoAliases, '\0', none, "", Repeat::once, kMakes,
               "Let shares carry Unix sockets, which lead past the network of the sandbox.", "--share-sockets"},
    OptionSpec{OptionId::tool, Group::files, "tool", kNoAliases, '\0', required, "PATH", Repeat::many, kMakes,
               "Make a tool from outside /usr (uv, cargo, node of a version manager) visible read-only and put it on "
               "PATH. What -v refuses to share (folders that carry sockets, $HOME itself ...) is refused here too, "
               "unless --share-sockets is there.",
               "--tool ~/.local/bin/uv"},
    OptionSpec{
        OptionId::image, Group::files, "image", kNoAliases, '\0', required, "NAME|PATH", Repeat::once, kMakes,
        "Run in a root file system of its own instead of the host's /usr: an imported image (weir image import), "
        "a folder, a tar archive, an OCI layout or archive. It is never written: what the command changes is "
        "gone at the end. Archives are unpacked for this run and removed after it. A name in the store wins over a "
        "file of "
        "that name: write ./FILE. Of an OCI image variables and working folder count, and its entry point and command "
        "where no COMMAND is given; its user does not: say --user.",
        "--image debian"},
    OptionSpec{OptionId::workdir, Group::process, "workdir", kNoAliases, 'w', required, "PATH", Repeat::once,
               kMakes | kInSession | only(session_shell),
               "The folder, inside, in which the command starts; default the home folder, with --here the current "
               "one.",
               "-w /data"},
    OptionSpec{OptionId::env, Group::process, "env", kNoAliases, 'e', required, "NAME[=VALUE]", Repeat::many,
               kMakes | kInSession | only(session_shell),
               "Set an environment variable; without =VALUE it is copied from the caller. The environment starts with "
               "PATH, HOME, USER, LANG, TERM and WEIR=1, and where there is a gateway the names of its proxies (see "
               "--no-proxy-env).",
               "-e LOG=debug -e CI"},
    OptionSpec{OptionId::env_file, Group::process, "env-file", kNoAliases, '\0', required, "FILE", Repeat::many,
               kMakes | kInSession | only(session_shell),
               "Read variables from a file, one NAME=VALUE or NAME per line, # for comments; --env wins over it.",
               "--env-file test.env"},
    OptionSpec{OptionId::no_proxy_env, Group::network, "no-proxy-env", kNoAliases, '\0', none, "", Repeat::once,
               kJudges,
               "Do not announce the gateway's HTTP and SOCKS5 proxies in HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and "
               "NO_PROXY. They are there all the same; programs that do not use them meet the same verdicts.",
               "--no-proxy-env"},
    OptionSpec{OptionId::subnet, Group::network, "subnet", kNoAliases, '\0', required, "CIDR", Repeat::once, kMakes,
               "The private IPv4 /16 from which the network inside has its addresses; default 10.254.0.0/16. For a "
               "machine whose own networks are there: what is in it cannot be reached from inside. Sandboxes may have "
               "the same one.",
               "--subnet 10.253.0.0/16"},
    OptionSpec{OptionId::user, Group::process, "user", kNoAliases, '\0', required, "root|sandbox|UID", Repeat::once,
               kMakes, "Who the command runs as, inside; default sandbox (1000). root inside is nobody outside.",
               "--user root"},
    OptionSpec{
        OptionId::timeout, Group::process, "timeout", kNoAliases, '\0', required, "DURATION[,GRACE]", Repeat::once,
        kStarts | kInSession,
        "End the command after this time (500ms, 10s, 1m30s, a number of seconds): it is asked to (SIGTERM), and "
        "everything inside is killed when it has not ended after the grace time, by default 2s. weir then exits "
        "with 124. The grace time also holds when weir itself is asked to end.",
        "--timeout 30s,5s"},
    OptionSpec{OptionId::memory, Group::process, "memory", kNoAliases, '\0', required, "SIZE", Repeat::once, kMakes,
               "The memory of everything inside together, its private files included (64M, 1G, a number of bytes); at "
               "least 8M. When it is exceeded the whole sandbox is killed, and weir exits with 137. A cgroup holds it "
               "where there is one (weir doctor); elsewhere weir adds the processes up every 50 ms, and memory files "
               "(memfd_create) and System V shared memory do not exist inside.",
               "--memory 512M"},
    OptionSpec{OptionId::cpus, Group::process, "cpus", kNoAliases, '\0', required, "NUMBER", Repeat::once, kMakes,
               "The processors of everything inside together; at least 0.01. Without a cgroup only whole numbers: the "
               "sandbox then stays on that many processors.",
               "--cpus 1.5"},
    OptionSpec{OptionId::pids, Group::process, "pids", kNoAliases, '\0', required, "NUMBER", Repeat::once, kMakes,
               "How many processes and threads there may be inside at a time; more are refused (EAGAIN).",
               "--pids 256"},
    OptionSpec{OptionId::disk, Group::process, "disk", kNoAliases, '\0', required, "SIZE", Repeat::once, kMakes,
               "The size of everything that is written outside of shares, which lies in memory; at least 1M, with one "
               "file for each 8K, at least 1024. By default half of the machine's memory. Writing beyond it fails "
               "(ENOSPC).",
               "--disk 1G"},
    OptionSpec{OptionId::name, Group::process, "name", kNoAliases, '\0', required, "NAME", Repeat::once, kMakes,
               "A name for the sandbox, for lists and messages: letters, digits, '_', '.', '-'.", "--name build-7"},
    OptionSpec{OptionId::label, Group::process, "label", kNoAliases, '\0', required, "KEY=VALUE", Repeat::many,
               only(session_create), "Something to find the session by.", "--label job=17"},
    OptionSpec{
        OptionId::ttl, Group::process, "ttl", kNoAliases, '\0', required, "TIME", Repeat::once, only(session_create),
        "End the session so long after it was made, whatever runs in it; a machine that sleeps or a clock that is "
        "set does not change that. Without it the session lives until it is told to stop.",
        "--ttl 2h"},
    OptionSpec{
        OptionId::idle, Group::process, "idle", kNoAliases, '\0', required, "TIME", Repeat::once, only(session_create),
        "Do what --on-idle says when for so long nobody is connected and none of the processes that were asked for "
        "lives.",
        "--idle 15m"},
    OptionSpec{OptionId::on_idle, Group::process, "on-idle", kNoAliases, '\0', required, "stop", Repeat::once,
               only(session_create), "What --idle does; stop ends the session.", "--idle 15m --on-idle stop"},
    OptionSpec{
        OptionId::bootstrap, Group::process, "bootstrap", kNoAliases, '\0', required, "SCRIPT", Repeat::once,
        only(session_create),
        "Make the session a service: a script for /bin/sh that is begun with it, detached, and is what it serves "
        "(exec at its end). Its health is that its published TCP ports take connections.",
        "--bootstrap 'exec python3 -m http.server 80' -p 8080:80"},
    OptionSpec{
        OptionId::restart, Group::process, "restart", kNoAliases, '\0', required, "no|on-failure|always", Repeat::once,
        only(session_create),
        "When the bootstrap script is begun again after its end; default on-failure. The pause grows from 100 ms to "
        "30 s while it ends again and again.",
        "--restart always"},
    OptionSpec{OptionId::interactive, Group::process, "interactive", kNoAliases, 'i', none, "", Repeat::once,
               kStarts | kInSession, "Keep standard input connected: always so for run, accepted out of habit.", "-it"},
    OptionSpec{OptionId::terminal, Group::process, "tty", kNoAliases, 't', none, "", Repeat::once, kStarts | kInSession,
               "Give the command a terminal of its own. Without it pipes stay pipes.", "-t"},
    OptionSpec{OptionId::detach, Group::process, "detach", kNoAliases, 'd', none, "", Repeat::once, kInSession,
               "Begin the process, print its pid, and leave it to the session: weir session output ID PID prints what "
               "it prints. With -i its standard input stays open, else it is empty.",
               "-d"},
    OptionSpec{
        OptionId::freeze, Group::process, "freeze", kNoAliases, '\0', none, "", Repeat::once, kInSession,
        "With --net, --allow or --deny: let processes of the session that have a wider network stand still while "
        "the command runs. Without it, it does not start beside them.",
        "--net none --freeze"},
    OptionSpec{
        OptionId::keep_files, Group::files, "keep-files", kNoAliases, '\0', none, "", Repeat::once, kInSession,
        "With --net, --allow or --deny: keep what the command wrote, if it ends with 0. Without it, its files are "
        "discarded.",
        "--net none --keep-files"},
    OptionSpec{OptionId::all, Group::output, "all", kNoAliases, 'a', none, "", Repeat::once, only(ps),
               "Sessions that are asleep as well.", "-a"},
    OptionSpec{OptionId::remove, Group::process, "rm", kNoAliases, '\0', none, "", Repeat::once, kStarts,
               "Remove the sandbox when the command ends: always so for run, accepted out of habit.", "--rm"},
    OptionSpec{OptionId::events, Group::output, "events", kNoAliases, '\0', required, "FILE|-|none", Repeat::once,
               kMakes,
               "Where the record of every attempt goes, as JSON Lines; default a bounded file per sandbox under the "
               "user's state folder, where the newest 256 and those of the last 30 days are kept.",
               "--events e.jsonl"},
    OptionSpec{
        OptionId::control, Group::output, "control", kNoAliases, '\0', required, "SOCKET", Repeat::once, kRun,
        "Make a unix socket, in a folder of the caller's own, on which the same user can narrow the policy while "
        "the command runs: one line of JSON each way, such as {\"op\": \"narrow\", \"network_mode\": \"none\"}. "
        "Connections that lose their permission are reset at once; nothing is ever widened.",
        "--control ./control.sock"},
    OptionSpec{OptionId::receipt, Group::output, "receipt", kNoAliases, '\0', required, "FILE", Repeat::once, kStarts,
               "When everything inside has ended, however it ended, write one page about it to FILE, and the same as "
               "JSON to FILE.json: what ran, the policy's hash, destinations with their bytes, names asked, refusals, "
               "and what was changed in overlays. "
               "A file that is there is replaced. weir exits with 125 when it cannot be written.",
               "--receipt r.txt"},
    OptionSpec{OptionId::follow, Group::output, "follow", kNoAliases, 'f', none, "", Repeat::once,
               any_of(CommandId::log, session_output, service_logs),
               "Print what comes as well, until the sandbox has ended. Without an ID or a file the newest record is "
               "followed.",
               "-f"},
    OptionSpec{OptionId::event_type, Group::output, "type", kNoAliases, '\0', required, "TYPE", Repeat::many,
               only(CommandId::log),
               "Only events of a type (flow.open, flow.close, flow.refuse, dns.answer, dns.refuse, limit, "
               "policy.update, sandbox.start, sandbox.exit), or of a family (flow, dns, policy, sandbox).",
               "--type dns.refuse"},
    OptionSpec{OptionId::event_name, Group::output, "name", kNoAliases, '\0', required, "NAME|ADDRESS", Repeat::many,
               only(CommandId::log),
               "Only events about a name (example.com; *.example.com below it; .example.com both) or an address.",
               "--name '*.example.com'"},
    OptionSpec{OptionId::verdict, Group::output, "verdict", kNoAliases, '\0', required, "allow|refuse", Repeat::once,
               only(CommandId::log), "Only what was allowed, or what was refused.", "--verdict refuse"},
    OptionSpec{OptionId::summary, Group::output, "summary", kNoAliases, '\0', none, "", Repeat::once,
               only(CommandId::log),
               "Instead of the events print what they come to: destinations with their bytes, names asked, refusals, "
               "limits.",
               "--summary"},
    OptionSpec{
        OptionId::dry_run, Group::output, "dry-run", kNoAliases, '\0', none, "", Repeat::once,
        any_of(run, script, apply),
        "Print the effective policy and what would be mounted, or what weir apply would take over; start and change "
        "nothing.",
        "--dry-run"},
    OptionSpec{OptionId::patch, Group::output, "patch", kNoAliases, '\0', none, "", Repeat::once, only(diff),
               "Print what changed in text files of up to 256 KiB as well, compared with what is here now. To be read: "
               "characters that steer a terminal are escaped.",
               "--patch"},
    OptionSpec{OptionId::discard, Group::files, "discard", kNoAliases, '\0', none, "", Repeat::once, only(apply),
               "Take nothing over: remove what is kept of the run.", "--discard"},
    OptionSpec{OptionId::output, Group::output, "output", kNoAliases, 'o', required, "text|json", Repeat::once, kPrints,
               "How weir writes its own output: for people or as JSON.", "-o json"},
    OptionSpec{OptionId::compiled_policy, Group::output, "output", kNoAliases, 'o', required, "IMAGE", Repeat::once,
               only(policy_compile), "The file to write the compiled policy to.", "-o agents.image"},
    OptionSpec{
        OptionId::learned_policy, Group::output, "output", kNoAliases, 'o', required, "FILE", Repeat::once,
        only(policy_learn),
        "The file to write the learned policy to, in place of one that is there; default standard output, behind "
        "what the command writes.",
        "-o agents.toml"},
    OptionSpec{OptionId::from, Group::output, "from", kNoAliases, '\0', required, "FILE", Repeat::many,
               only(policy_learn),
               "Learn from what was recorded instead of running a command: a receipt (the FILE.json of weir run "
               "--receipt) or a file of events.",
               "--from r.txt.json"},
    OptionSpec{OptionId::json, Group::output, "json", kNoAliases, '\0', none, "", Repeat::once, kPrints,
               "The same as -o json.", "--json"},
    OptionSpec{OptionId::quiet, Group::output, "quiet", kNoAliases, 'q', none, "", Repeat::once,
               kStarts | kInSession | any_of(session_shell, session_cp),
               "No notices at start, no summary at the end; failures are still said.", "-q"},
    OptionSpec{OptionId::debug, Group::output, "debug", kNoAliases, '\0', none, "", Repeat::once, kStarts,
               "Say on stderr what weir does, step by step.", "--debug"},
    OptionSpec{OptionId::markdown, Group::output, "markdown", kNoAliases, '\0', none, "", Repeat::once, only(help),
               "Print the whole reference as Markdown: the page docs/reference/cli.md.", "--markdown"},
    OptionSpec{OptionId::man, Group::output, "man", kNoAliases, '\0', none, "", Repeat::once, only(help),
               "Print the whole reference as a manual page: weir help --man | man -l -", "--man"},
    OptionSpec{OptionId::help, Group::output, "help", kNoAliases, 'h', none, "", Repeat::once, kAll,
               "Print the help of the command.", "--help"},
};

constexpr std::array kRunExamples = {
    Example{"weir run -- python3 task.py", "no network at all: every connect fails at once"},
    Example{"weir run --allow pypi.org,files.pythonhosted.org -- pip install requests", "two hosts, nothing else"},
    Example{"weir run --here --allow api.example.com:443 -- ./agent", "work in the current folder, talk to one API"},
    Example{"weir run --policy agents.toml --events e.jsonl -- ./agent",
            "a policy from a file, every attempt recorded"},
    Example{"weir run -it -- bash", "look around inside"},
    Example{"weir run --image alpine -it -- sh", "the same in an image"},
    Example{"weir run --dry-run --here -v ./data:/data:ro -- true", "show what it would be, start nothing"},
};
constexpr std::array kScriptExamples = {
    Example{"weir script task.py", "its language is told by the extension, or by a first line with #!"},
    Example{"weir script --allow api.example.com task.js a b", "options of weir run, then the file and its arguments"},
    Example{"weir script -s python 'print(6 * 7)'", "code that is in no file"},
    Example{"weir script -s c++ - < main.txt", "code from standard input; compiled, then run"},
    Example{"weir script --here=overlay main.py", "in the current folder, with the modules beside it"},
    Example{"weir script --image node:22 task.ts", "with what the image has"},
};
constexpr std::array kCheckExamples = {
    Example{"weir policy check agents.toml", "errors with line and column, then warnings"},
};
constexpr std::array kExplainExamples = {
    Example{"weir policy explain --policy agents.toml pypi.org:443", "verdict, and the entry that decided"},
    Example{"weir policy explain --allow '*.example.com' example.com:443", "refused: '*.x' does not include x"},
};
constexpr std::array kShowExamples = {
    Example{"weir policy show --policy agents.toml --allow 192.0.2.7", "the policy as it would apply"},
};
constexpr std::array kTestExamples = {
    Example{"weir policy test agents.toml cases.txt", "exit 1 and one line for every case that does not hold"},
};
constexpr std::array kSetsExamples = {
    Example{"weir policy sets", "the sets that policies may name"},
    Example{"weir policy sets pypi", "what one of them contains"},
};
constexpr std::array kCompileExamples = {
    Example{"weir policy compile --policy agents.toml -o agents.image", "read, check and sort the names once"},
    Example{"weir policy compile --net open --deny-list ads.txt -o ads.image", "for weir run --policy ads.image"},
};
constexpr std::array kLearnExamples = {
    Example{"weir policy learn -o agents.toml -- ./agent", "run it once with an open door and write down what it used"},
    Example{"weir policy learn --here=overlay --deny @private -- ./agent", "the same with less of a door"},
    Example{"weir policy learn --from r.txt.json --from e.jsonl", "from receipts and records of earlier runs"},
};
constexpr std::array kImportExamples = {
    Example{"weir image import alpine.tar.gz alpine", "a root file system in an archive"},
    Example{"weir image import ./tree mine", "a folder that holds a root file system; it stays as it is"},
    Example{"weir image import ./layout debian:12",
            "an OCI layout, as skopeo copy docker://debian:12 oci:layout makes"},
};
constexpr std::array kImageLsExamples = {Example{"weir image ls -o json", "what there is, for scripts"}};
constexpr std::array kImageRmExamples = {Example{"weir image rm alpine", "refused while a sandbox runs in it"}};
constexpr std::array kSessionExamples = {
    Example{"weir session", "look around, without a network"},
    Example{"weir session --name demo --allow @pypi", "and weir session cp or weir exec from another terminal"},
};
constexpr std::array kSessionRunExamples = {
    Example{"weir session run demo -- make test", "with this terminal's or pipe's descriptors, and its exit code"},
    Example{"weir session run -it demo -- python3", "with a terminal"},
    Example{"weir session run -d demo -- python3 -m http.server 80", "goes on when weir has ended"},
    Example{"weir session run --net none demo -- python3 use.py", "narrower than the session, for this process"},
};
constexpr std::array kSessionShellExamples = {
    Example{"weir session shell demo", "look around"},
    Example{"weir session shell demo < commands.txt", "commands from a file, without a terminal"},
};
constexpr std::array kSessionCpExamples = {
    Example{"weir session cp data.csv demo:/data/", "below its own name"},
    Example{"weir session cp demo:/data/out.csv .", "and out again"},
    Example{"weir session cp ./project demo:/work", "a folder"},
    Example{"weir session cp - demo:/data/in.csv < in.csv", "from standard input"},
    Example{"weir session cp demo:/data/out.csv - | head", "to standard output"},
};
constexpr std::array kSessionLsExamples = {
    Example{"weir session ls", "by the time they were made"},
    Example{"weir session ls -o json", "for scripts"},
};
constexpr std::array kSessionShowExamples = {Example{"weir session show demo", "policy, limits, use, record"}};
constexpr std::array kSessionNarrowExamples = {
    Example{"weir session narrow --net none demo", "no network from now on, for all that runs in it"},
    Example{"weir session narrow --allow api.example.com:443 demo", "only this, of what it may reach"},
};
constexpr std::array kSessionRmExamples = {Example{"weir session rm demo build-7", "both, at once"}};
constexpr std::array kSessionProcessesExamples = {Example{"weir session processes demo", "what was begun in it"}};
constexpr std::array kSessionSignalExamples = {
    Example{"weir session signal demo 12", "SIGTERM"},
    Example{"weir session signal demo 12 HUP", "another one"},
};
constexpr std::array kSessionOutputExamples = {
    Example{"weir session output demo 12", "what it has printed"},
    Example{"weir session output -f demo 12", "and what it prints, until it ends"},
};
constexpr std::array kServiceCreateExamples = {
    Example{"weir service create --name web -p 8080:80 --bootstrap 'exec python3 -m http.server 80'",
            "on 127.0.0.1:8080, begun again when it fails"},
};
constexpr std::array kServiceLsExamples = {Example{"weir service ls", "with their health"}};
constexpr std::array kServiceShowExamples = {Example{"weir service show web", "one of them"}};
constexpr std::array kServiceLogsExamples = {Example{"weir service logs -f web", "what it prints, until it ends"}};
constexpr std::array kServiceRmExamples = {Example{"weir service rm web", "with its files"}};
constexpr std::array kPsExamples = {
    Example{"weir ps", "what runs"},
    Example{"weir ps -a -o json", "what sleeps as well, for scripts"},
};
constexpr std::array kStopExamples = {Example{"weir stop demo", "what runs in it is asked to end first"}};
constexpr std::array kExecExamples = {Example{"weir exec demo -- ls -l /data", "the same as weir session run"}};
constexpr std::array kLogExamples = {
    Example{"weir log", "every event of every record that is kept, oldest record first"},
    Example{"weir log -f", "follow the newest sandbox until it ends"},
    Example{"weir log w-3f9a1c27 --verdict refuse", "what one sandbox was refused"},
    Example{"weir log --summary e.jsonl", "destinations, bytes, names and refusals of one file"},
    Example{"weir log --type flow --name .example.com -o json", "the lines themselves, for scripts"},
};
constexpr std::array kDiffExamples = {
    Example{"weir diff", "what the last run that was kept changed in this folder"},
    Example{"weir diff --patch src", "line by line, below src only"},
    Example{"weir diff w-3f9a1c27 -o json", "of one run, for scripts"},
};
constexpr std::array kApplyExamples = {
    Example{"weir apply --dry-run", "what would be taken over, and what not"},
    Example{"weir apply package-lock.json src", "only these"},
    Example{"weir apply --insist file=.envrc", "also what direnv would run"},
    Example{"weir apply --discard w-3f9a1c27", "forget the changes of one run"},
};
constexpr std::array kSealExamples = {
    Example{"weir seal w-3f9a1c27", "its [after] is in force when this returns"},
};
constexpr std::array kDoctorExamples = {
    Example{"weir doctor", "one line per control, and the command that repairs what is missing"},
    Example{"weir doctor --json", "for scripts; docs/doctor.schema.json says what stands there"},
};
constexpr std::array kVersionExamples = {Example{"weir version -o json", "for scripts"}};
constexpr std::array kCompletionExamples = {
    Example{"weir completion bash > ~/.local/share/bash-completion/completions/weir", "for one user of bash"},
    Example{"weir completion fish > ~/.config/fish/completions/weir.fish", "for one user of fish"},
    Example{"weir completion zsh > /usr/local/share/zsh/site-functions/_weir", "for every user of zsh, as root"},
};
constexpr std::array kHelpExamples = {
    Example{"weir help run", "the same as weir run --help"},
    Example{"weir help --markdown > cli.md", "the reference page"},
    Example{"weir help --man > weir.1", "the manual page"},
};

constexpr std::uint8_t kAnyNumber = 255;

constexpr std::array kSessionCreateExamples = {
    Example{"weir session create --name build --allow @pypi --ttl 8h", "ends by itself after eight hours"},
    Example{"weir session create -o json -p 8080:80 --label job=17", "what was made, for programs"},
};

constexpr std::array kCommands = {
    CommandSpec{run, "run", "[--] COMMAND [ARG...]", 1, kAnyNumber, true, "run one command in a sandbox",
                "Starts a sandbox, runs the command in it, and ends everything in it when the command ends. The "
                "sandbox reaches exactly what its policy names, and every attempt leaves one record. The first word "
                "that is no option is the command: what follows belongs to it.",
                kRunExamples},
    CommandSpec{
        script, "script", "FILE|CODE [ARG...]", 1, kAnyNumber, true, "run a script in a sandbox",
        "Runs a file of code, or with -s the code itself, as weir run runs a command, and takes the same options. What "
        "runs it is looked for inside: an interpreter, or a compiler, whose result is then run under the same limits. "
        "A copy of the file alone is put inside; with --here one of the current folder is run where it is. No shell "
        "reads the code. Exit code: the script's, a compiler's that failed, 127 where the program that runs it is "
        "missing (the Debian package is named), others as of weir run.",
        kScriptExamples},
    CommandSpec{policy_check, "policy check", "FILE", 1, 1, false, "check a policy file",
                "Reads a policy file and says what is wrong with it: errors with file, line and column, then warnings "
                "about entries that do not do what they seem to. Exit code 0: usable, with or without warnings. 1: "
                "not usable. 125: the file could not be read.",
                kCheckExamples},
    CommandSpec{policy_explain, "policy explain", "TARGET", 1, 1, false, "say what a policy decides, and why",
                "Prints the verdict for one destination, the layer and the entry that decided, and what would change "
                "it. Asks no network. Exit code 0, whatever the verdict.",
                kExplainExamples},
    CommandSpec{policy_show, "policy show", "", 0, 0, false, "print the policy as it applies",
                "Prints the policy that the file and the flags make together, sets unfolded, floors included.",
                kShowExamples},
    CommandSpec{policy_test, "policy test", "FILE CASES", 2, 2, false, "test a policy against expected verdicts",
                "Judges every case of the file CASES by the policy FILE. Exit code 0: all hold. 1: some do not.",
                kTestExamples},
    CommandSpec{policy_sets, "policy sets", "[SET]", 0, 1, false, "list the sets of destinations",
                "Lists the named sets that targets may use (@pypi, @debian ...), or what one of them contains and "
                "whether anyone with an account can receive data there.",
                kSetsExamples},
    CommandSpec{
        policy_compile, "policy compile", "", 0, 0, false, "compile a policy with large lists once",
        "Writes the policy that the file and the flags make together, lists included, as an image that loads in "
        "milliseconds and is accepted wherever a policy file is. The operator's floor is not in it: that of the "
        "machine comes on top wherever the image is used. Lists that change, or another version of weir, ask for "
        "compiling again.",
        kCompileExamples},
    CommandSpec{
        policy_learn, "policy learn", "[--] [COMMAND [ARG...]]", 0, kAnyNumber, true,
        "write the policy that a command needs",
        "Runs the command in mode open, where only the hard floor and --deny hold, and writes the smallest policy that "
        "would have allowed what it reached: names where it used names, ports, sets of which it used several hosts, "
        "with how often. Only for code that you would run with an open network. What the command did is not judged: "
        "read the policy before you use it. It allows nothing by itself. The exit code is the command's.",
        kLearnExamples},
    CommandSpec{
        image_import, "image import", "SOURCE [NAME]", 1, 2, false, "store a root file system under a name",
        "Unpacks a tar archive (plain, gzip, zstd or xz), an OCI layout or archive, or what docker save wrote, for "
        "weir run --image NAME. Everything is read by a process without network that can write to one new folder "
        "only. Whatever a sandbox could not use as it stands (devices, pipes, links out of the tree, unknown "
        "attributes) is refused as a whole; what it would ignore anyway (set-id bits, file capabilities) is left "
        "out and said.",
        kImportExamples},
    CommandSpec{image_ls, "image ls", "", 0, 0, false, "list the stored images",
                "Prints name, digest, size, format and time of import of every stored image.", kImageLsExamples},
    CommandSpec{image_rm, "image rm", "NAME", 1, 1, false, "remove a stored image",
                "Removes an image and its files. Refused while a sandbox runs in it.", kImageRmExamples},
    CommandSpec{
        session_run, "session run", "ID [--] COMMAND [ARG...]", 2, kAnyNumber, true, "run a command in a session",
        "Runs the command in a session that lives: its files, its network, its user, beside what runs there. The "
        "command "
        "has the caller's own standard input, output and error, which must not be folders; signals are sent on to it, "
        "and "
        "it ends with weir. ID is the session's id, the beginning of one, or its name. Exit codes as of weir run. With "
        "--net, --allow or --deny the command has a network of its own that is never wider than the session's, and "
        "writes to a layer of its own.",
        kSessionRunExamples},
    CommandSpec{
        session_shell, "session shell", "ID", 1, 1, false, "open a shell in a session",
        "Opens the session's bash, or else sh, on a terminal of its own; without a terminal on standard input it "
        "reads commands from there. Exit code: the shell's.",
        kSessionShellExamples},
    CommandSpec{
        session_cp, "session cp", "ID:PATH|PATH ID:PATH|PATH", 2, 2, false, "copy files into a session or out of it",
        "Copies one file, or a folder with what is in it. PATH inside is absolute; one of this machine that has a "
        "colon is "
        "written with ./ in front, and - is standard input or output (of a folder: a tar archive). Folders above a "
        "target "
        "inside are made. A target that is a folder or ends with a slash takes the copy below its own name; FOLDER/. "
        "is "
        "what is in the folder. A file stands whole or not at all. Inside, the rights are those of the session's user, "
        "and no link leads out; outside, nothing is written through a link that was copied.",
        kSessionCpExamples},
    CommandSpec{session_ls, "session ls", "", 0, 0, false, "list the sessions",
                "Lists the sessions of this user, those that are asleep as well.", kSessionLsExamples},
    CommandSpec{session_show, "session show", "ID", 1, 1, false, "show one session",
                "Prints what a session is: its state, policy, limits, what it uses, and where its record is.",
                kSessionShowExamples},
    CommandSpec{
        session_narrow, "session narrow", "ID", 1, 1, false, "make the network of a session narrower",
        "Puts a narrower policy over the session's, for all that runs in it, as a whole and at once: what it does not "
        "allow is refused, connections that lost their permission are reset. There is no way back, and nothing is ever "
        "widened.",
        kSessionNarrowExamples},
    CommandSpec{session_rm, "session rm", "ID...", 1, kAnyNumber, false, "end and remove sessions",
                "Ends everything in the sessions at once and removes their files, also of those that are asleep. Their "
                "records stay (weir log). Goes on after one that fails; exit code 125 then.",
                kSessionRmExamples},
    CommandSpec{
        session_processes, "session processes", "ID", 1, 1, false, "list the processes of a session",
        "Lists the processes that were begun in a session: those that run, and detached ones that have ended. Of "
        "their arguments nothing is shown.",
        kSessionProcessesExamples},
    CommandSpec{
        session_signal, "session signal", "ID PID [SIGNAL]", 2, 3, false, "send a signal to a process",
        "Sends a signal to a process that was begun in a session, and to its process group. SIGNAL is a name or a "
        "number, by default TERM.",
        kSessionSignalExamples},
    CommandSpec{session_output, "session output", "ID PID", 2, 2, false, "print what a detached process printed",
                "Prints to standard output and standard error what a detached process has printed there, as far as the "
                "session keeps it.",
                kSessionOutputExamples},
    CommandSpec{
        service_create, "service create", "", 0, 0, false, "make a session that serves ports",
        "Makes a session with the options of weir session create, of which --bootstrap must be there: the script "
        "is begun with it, and begun again as --restart says. Ports that -p publishes lead to it, by default from "
        "127.0.0.1. A service is a session: every command about sessions takes its name.",
        kServiceCreateExamples},
    CommandSpec{service_ls, "service ls", "", 0, 0, false, "list the services",
                "Lists the sessions of this user that are services.", kServiceLsExamples},
    CommandSpec{service_show, "service show", "ID", 1, 1, false, "show one service",
                "Prints what weir session show prints, of a service.", kServiceShowExamples},
    CommandSpec{service_logs, "service logs", "ID", 1, 1, false, "print what a service printed",
                "Prints what the bootstrap script has printed since it was begun the last time.", kServiceLogsExamples},
    CommandSpec{service_rm, "service rm", "ID...", 1, kAnyNumber, false, "end and remove services",
                "The same as weir session rm, for services only.", kServiceRmExamples},
    CommandSpec{ps, "ps", "", 0, 0, false, "list what runs", "Lists the sessions of this user that run.", kPsExamples},
    CommandSpec{
        stop, "stop", "ID...", 1, kAnyNumber, false, "end sessions",
        "Asks everything in the sessions to end (SIGTERM) and ends what has not after their grace time; then they "
        "are gone, as after weir session rm. Goes on after one that fails; exit code 125 then.",
        kStopExamples},
    CommandSpec{exec, "exec", "ID [--] COMMAND [ARG...]", 2, kAnyNumber, true, "run a command in a session",
                "The same as weir session run.", kExecExamples},
    CommandSpec{
        CommandId::log, "log", "[ID|FILE]", 0, 1, false, "print or follow the record of what sandboxes tried",
        "Prints events: of a file (weir run --events FILE), of one sandbox by its id, or of every record that is kept. "
        "Files are read strictly: a line that weir did not write so, and numbers that are missing, are said with "
        "their place, and the exit code is then 1. What a guest chose is escaped.",
        kLogExamples},
    CommandSpec{seal, "seal", "ID", 1, 1, false, "let a sandbox enter the [after] of its policy",
                "Tells a sandbox of the same user that runs with an [after] (or --after) to enter it now, and waits "
                "until it is "
                "in force: what it does not allow is refused, connections that lost their permission are reset. There "
                "is no way "
                "back. Harmless where it was entered before. The id is in the first line of weir log and is said at "
                "start. Exit "
                "code 0: it is in force.",
                kSealExamples},
    CommandSpec{
        diff, "diff", "[ID] [PATH...]", 0, kAnyNumber, false, "show what a run changed in overlays",
        "Shows the changes of a run with --here=overlay (or -v SRC:DST:overlay) and --keep-changes: kind, path, size, "
        "and what stands against taking them over. ID is the run's, by default the last one that was called in the "
        "current folder or shared it. PATH selects what is at or below it, a path as it is outside. What a guest "
        "chose is escaped.",
        kDiffExamples},
    CommandSpec{
        apply, "apply", "[ID] [PATH...]", 0, kAnyNumber, false, "take over what a run changed in overlays",
        "Puts the changes that weir diff shows into the shared folder: each file whole or not at all, through no link, "
        "never outside of the folder. Left out and said: devices, sockets, pipes, set-id bits. Refused unless named "
        "with --insist: what something outside would run by itself (.git/hooks, .envrc, .vscode ...), links that lead "
        "out of the folder, and what has changed in the folder since the run began. Goes on after a refusal. Exit "
        "code 0: the folder holds everything that was asked for. 1: something was left; it is named. Again it does "
        "what is missing.",
        kApplyExamples},
    CommandSpec{
        session, "session", "", 0, 0, false, "open a shell in a new session, which ends with it",
        "Makes a session, with the options of weir session create, opens a shell in it as weir session shell does, "
        "and removes the session when the shell has ended. Meanwhile it is a session like any other. Exit code: "
        "the shell's.",
        kSessionExamples},
    CommandSpec{
        session_create, "session create", "", 0, 0, false, "make a sandbox that lives on",
        "Starts a sandbox with the options of weir run and no command, and ends when it stands: its supervisor stays, "
        "child of nobody, until the session is stopped, its --ttl is over, or it is idle for too long. Prints the id, "
        "or with -o json the session. Processes in it, files and a narrower policy are asked for by its id or name, "
        "by the same user.",
        kSessionCreateExamples},
    CommandSpec{
        doctor, "doctor", "", 0, 0, false, "say what this machine can enforce",
        "Tries every control that weir relies on, for real, in a throw-away child, and prints one line for each: "
        "ok and what enforces it, or what failed and the command that would repair it. MISSING: weir run does "
        "not work, or only without a network. limited: one option does not work, or something is slower or "
        "behind one wall less. Kernel settings that bear on it follow. Exit code 0: everything needed holds. "
        "1: something needed is missing.",
        kDoctorExamples},
    CommandSpec{version, "version", "", 0, 0, false, "print the version",
                "Prints version, commit and compiler, and says so when this is a test build.", kVersionExamples},
    CommandSpec{
        completion, "completion", "bash|zsh|fish [-- WORD...]", 1, kAnyNumber, false,
        "print a script that completes weir's command line",
        "Prints the script that makes a shell complete commands, options and values of weir; ./dev install puts "
        "the three where the shells look. With words it prints what may stand in place of the last one, which is "
        "what the scripts ask: the first line says where to look (words, files, or a command and the place "
        "where it begins), each further line is a word, a tab and what it means.",
        kCompletionExamples},
    CommandSpec{help, "help", "[COMMAND...]", 0, 2, false, "explain weir or one command",
                "Prints the overview, or the help of one command.", kHelpExamples},
};

}  // namespace

std::string_view title_of(Group group) {
  switch (group) {
    case Group::network:
      return "Network";
    case Group::files:
      return "Files";
    case Group::process:
      return "Process";
    case Group::output:
      return "Output";
  }
  return "";
}

std::span<const OptionSpec> all_options() {
  return kOptions;
}
std::span<const CommandSpec> all_commands() {
  return kCommands;
}

const CommandSpec& spec_of(CommandId command) {
  for (const CommandSpec& spec : kCommands) {
    if (spec.id == command) return spec;
  }
  bug("every CommandId is in the table", __FILE__, __LINE__);
}

const OptionSpec& spec_of(OptionId option) {
  for (const OptionSpec& spec : kOptions) {
    if (spec.id == option) return spec;
  }
  bug("every OptionId is in the table", __FILE__, __LINE__);
}

// The option so spelled that the command takes, else any of that spelling.
template <class IsSpelled>
static const OptionSpec* find_option(CommandId command, IsSpelled is_spelled) {
  const OptionSpec* found = nullptr;
  for (const OptionSpec& option : kOptions) {
    if (!is_spelled(option)) continue;
    if (takes(command, option)) return &option;
    found = &option;
  }
  return found;
}

const OptionSpec* find_long_option(std::string_view name, CommandId command) {
  return find_option(command, [name](const OptionSpec& option) {
    return option.name == name || std::ranges::find(option.aliases, name) != option.aliases.end();
  });
}

const OptionSpec* find_short_option(char letter, CommandId command) {
  return find_option(command, [letter](const OptionSpec& option) { return option.letter == letter; });
}

bool takes(CommandId command, const OptionSpec& option) {
  // These say to `weir session create` what they were told.
  if (command == service_create) return takes(session_create, option);
  if (command == session)
    return takes(session_create, option) && option.id != OptionId::output && option.id != OptionId::json;
  return (option.commands & only(command)) != 0;
}

std::vector<std::string_view> command_words_after(std::string_view prefix) {
  std::vector<std::string_view> words;
  for (const CommandSpec& command : kCommands) {
    std::string_view name = command.name;
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    const std::string_view word = name.substr(0, name.find(' '));
    if (std::ranges::find(words, word) == words.end()) words.push_back(word);
  }
  return words;
}

}  // namespace weir::cli
