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
           image_rm, snapshot_create, snapshot_ls, snapshot_show, snapshot_export, snapshot_import, snapshot_rm,
           session_create, session_run, session_ls, session_show, session_narrow, session_wake, session_processes,
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
    OptionSpec{
        OptionId::insist, Group::network, "insist", kNoAliases, '\0', required, "WHAT", Repeat::many,
        kInsist | only(session_narrow),
        "Accept what weir otherwise refuses, named exactly: broad=PATTERN for a wildcard over a public suffix, "
        "floor=ADDRESS for an address of the hard floor, taint for a snapshot that was written without a network "
        "and is opened with one. Printed at start.",
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
    OptionSpec{OptionId::snapshot, Group::files, "snapshot", kNoAliases, '\0', required, "ID|NAME", Repeat::once,
               kJudges,
               "Begin with the files of a snapshot (weir snapshot), over the host's programs or the image that it was "
               "made over. It is never written, and how large it is does not matter. One that was written without a "
               "network is opened with one only with --insist taint.",
               "--snapshot tools"},
    OptionSpec{OptionId::template_name, Group::files, "template", kNoAliases, '\0', required, "NAME", Repeat::once,
               kJudges,
               "Begin with what has that name: a snapshot, an image, or one of python and code-interpreter, which the "
               "host's own programs are where it has them.",
               "--template python"},
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
    OptionSpec{OptionId::snapshot_name, Group::output, "name", kNoAliases, '\0', required, "NAME", Repeat::once,
               any_of(snapshot_create, snapshot_import),
               "What the snapshot is called besides its id: 1 to 63 letters, digits, '_', '.', ':' or '-'.",
               "--name tools"},
    OptionSpec{OptionId::id, Group::process, "id", kNoAliases, '\0', required, "ID", Repeat::once,
               any_of(session_create, snapshot_import),
               "The id, for a program that has to know it before it begins: w- (a session) or s- (a snapshot) and 8 "
               "hexadecimal digits. It is drawn otherwise. A snapshot has no name then but that of --name.",
               "--id w-0f1e2d3c"},
    OptionSpec{OptionId::label, Group::process, "label", kNoAliases, '\0', required, "KEY=VALUE", Repeat::many,
               any_of(session_create, snapshot_create), "Something to find it by.", "--label job=17"},
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
    OptionSpec{
        OptionId::on_idle, Group::process, "on-idle", kNoAliases, '\0', required, "stop", Repeat::once,
        only(session_create),
        "What --idle does; stop ends the session. snapshot lets it fall asleep: its files are kept, what runs in it "
        "ends, and the next command that uses it wakes it, under the policy that was in force.",
        "--idle 15m --on-idle snapshot"},
    OptionSpec{
        OptionId::bootstrap, Group::process, "bootstrap", kNoAliases, '\0', required, "SCRIPT", Repeat::once,
        only(session_create),
        "Make the session a service: a script for /bin/sh that is begun with it, detached, and is what it serves "
        "(exec at its end). Its health is that its published TCP ports take connections.",
        "--bootstrap 'exec python3 -m http.server 80' -p 8080:80"},
    OptionSpec{
        OptionId::bootstrap_file, Group::process, "bootstrap-file", kNoAliases, '\0', required, "FILE", Repeat::once,
        only(session_create),
        "The same, out of a file that is read now, at most 120000 bytes: the words of a command are to be seen in "
        "the list of processes.",
        "--bootstrap-file serve.sh -p 8080:80"},
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
    OptionSpec{
        OptionId::event_type, Group::output, "type", kNoAliases, '\0', required, "TYPE", Repeat::many,
        only(CommandId::log),
        "Only events of a type (flow.open, flow.close, flow.refuse, dns.answer, dns.refuse, limit, "
        "policy.update, run.start, run.exit, sandbox.start, sandbox.exit), or of a family (flow, dns, policy, run, "
        "sandbox).",
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
    OptionSpec{OptionId::socket, Group::network, "socket", kNoAliases, '\0', required, "PATH", Repeat::once,
               only(serve),
               "The unix socket to listen on: whoever may open it is the owner of every session. Default "
               "$XDG_RUNTIME_DIR/weir.sock, as root /run/weir.sock, unless --listen or a service manager gives another "
               "place.",
               "--socket ./weir.sock"},
    OptionSpec{OptionId::listen, Group::network, "listen", kNoAliases, '\0', required, "ADDRESS:PORT", Repeat::once,
               only(serve),
               "Listen on TCP. Needs --token-file, and where others than this machine can reach it --tls-cert and "
               "--tls-key.",
               "--listen 127.0.0.1:8080"},
    OptionSpec{OptionId::token_file, Group::network, "token-file", kNoAliases, '\0', required, "FILE", Repeat::once,
               only(serve),
               "Who may ask by TCP: lines NAME:TOKEN, or NAME:TOKEN:ro for one that may look and not change. Nobody "
               "else may read the file. Each token sees what was made with it, and nothing else.",
               "--token-file /etc/weir/tokens"},
    OptionSpec{OptionId::tls_cert, Group::network, "tls-cert", kNoAliases, '\0', required, "FILE", Repeat::once,
               only(serve), "The certificate for --listen, with its chain (PEM).", "--tls-cert cert.pem"},
    OptionSpec{OptionId::tls_key, Group::network, "tls-key", kNoAliases, '\0', required, "FILE", Repeat::once,
               only(serve), "The key of the certificate (PEM).", "--tls-key key.pem"},
    OptionSpec{OptionId::max_sessions, Group::process, "max-sessions", kNoAliases, '\0', required, "NUMBER",
               Repeat::once, only(serve), "Sessions of all together; by default 4096. More are refused (429).",
               "--max-sessions 1000"},
    OptionSpec{OptionId::max_sessions_per_token, Group::process, "max-sessions-per-token", kNoAliases, '\0', required,
               "NUMBER", Repeat::once, only(serve), "Sessions of one token; by default 256.",
               "--max-sessions-per-token 20"},
    OptionSpec{OptionId::max_disk_per_token, Group::process, "max-disk-per-token", kNoAliases, '\0', required, "SIZE",
               Repeat::once, only(serve),
               "What one token may keep on the disk: its snapshots, archives that it is importing, answers that are "
               "kept for it; by default 16G, 0: any amount. More is refused (507).",
               "--max-disk-per-token 100G"},
    OptionSpec{OptionId::max_connections, Group::process, "max-connections", kNoAliases, '\0', required, "NUMBER",
               Repeat::once, only(serve), "Connections at a time; by default 512. More are refused (429).",
               "--max-connections 2000"},
    OptionSpec{OptionId::grace, Group::process, "grace", kNoAliases, '\0', required, "SECONDS", Repeat::once,
               only(serve),
               "How long requests that are being answered may take after SIGTERM; by default 10. Sessions go on.",
               "--grace 30"},
    OptionSpec{OptionId::log_form, Group::output, "log", kNoAliases, '\0', required, "text|json|none", Repeat::once,
               only(serve),
               "One line for each request on standard error: who, what, how it ended. No query, no header, no body.",
               "--log json"},
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

}  // namespace weir::cli
