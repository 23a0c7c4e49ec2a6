// The commands; option_table.h.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "cli/option_table.h"

namespace weir::cli {
namespace {

using enum CommandId;

constexpr std::array kServeExamples = {
    Example{"weir serve", "for this user, on $XDG_RUNTIME_DIR/weir.sock"},
    Example{"weir serve --listen 127.0.0.1:8080 --token-file tokens --log json", "with tokens, on TCP"},
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
constexpr std::array kSessionWakeExamples = {Example{"weir session wake demo", "as the next command would"}};
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
constexpr std::array kSnapshotCreateExamples = {
    Example{"weir snapshot create build --name tools", "what session build has written, as snapshot tools"},
};
constexpr std::array kSnapshotLsExamples = {Example{"weir snapshot ls", "what is kept"}};
constexpr std::array kSnapshotShowExamples = {
    Example{"weir snapshot show tools -o json", "its layers and where it is from"}};
constexpr std::array kSnapshotExportExamples = {
    Example{"weir snapshot export tools tools.tar", "to a file"},
    Example{"weir snapshot export tools - | zstd > tools.tar.zst", "to standard output"},
};
constexpr std::array kSnapshotImportExamples = {
    Example{"weir snapshot import tools.tar.zst", "plain, gzip, zstd or xz"}};
constexpr std::array kSnapshotRmExamples = {Example{"weir snapshot rm tools", "refused while a sandbox uses it"}};
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
    CommandSpec{session_wake, "session wake", "ID", 1, 1, false, "wake a sleeping session",
                "Starts a session that --on-idle snapshot has put to sleep, as every command that uses it does by "
                "itself: with its "
                "files, the policy that was in force, its ports and its service, until the end that it had. Where that "
                "cannot be "
                "it says why, and the session sleeps on. One that is awake is left as it is.",
                kSessionWakeExamples},
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
    CommandSpec{
        snapshot_create, "snapshot create", "SESSION", 1, 1, false, "keep what a session has written",
        "Stops everything in the session for the moment, copies what was written since it began into a layer, and lets "
        "it go on. Left out are shares and tools, /run, /dev, /proc, what weir itself has put there, sockets, pipes "
        "and "
        "set-id bits. The network mode is remembered: what was written without a network is not opened with one unless "
        "somebody insists.",
        kSnapshotCreateExamples},
    CommandSpec{
        snapshot_ls, "snapshot ls", "", 0, 0, false, "list the snapshots",
        "Prints id, name, size, network mode and time of every snapshot. Layers that several have in common are "
        "stored once.",
        kSnapshotLsExamples},
    CommandSpec{
        snapshot_show, "snapshot show", "ID|NAME", 1, 1, false, "what is known of a snapshot",
        "Prints its layers with their digests, the base that they lie on, the policy they were written under and "
        "the session they are from.",
        kSnapshotShowExamples},
    CommandSpec{snapshot_export, "snapshot export", "ID|NAME FILE|-", 2, 2, false, "a snapshot as one file",
                "Writes a tar archive of its description, the manifests of its layers and their files; not the image "
                "that it lies on. A file that is there is not replaced.",
                kSnapshotExportExamples},
    CommandSpec{snapshot_import, "snapshot import", "FILE", 1, 1, false, "a snapshot from such a file",
                "Reads what weir snapshot export wrote, in a process without network that can write to one new folder "
                "only. Each layer has to be what its digest says. It gets a new id.",
                kSnapshotImportExamples},
    CommandSpec{snapshot_rm, "snapshot rm", "ID|NAME", 1, 1, false, "remove a snapshot",
                "Removes a snapshot and the layers that no other has. Refused while a sandbox uses it.",
                kSnapshotRmExamples},
    CommandSpec{ps, "ps", "", 0, 0, false, "list what runs", "Lists the sessions of this user that run.", kPsExamples},
    CommandSpec{
        stop, "stop", "ID...", 1, kAnyNumber, false, "end sessions",
        "Asks everything in the sessions to end (SIGTERM) and ends what has not after their grace time; then they "
        "are gone, as after weir session rm. Goes on after one that fails; exit code 125 then.",
        kStopExamples},
    CommandSpec{exec, "exec", "ID [--] COMMAND [ARG...]", 2, kAnyNumber, true, "run a command in a session",
                "The same as weir session run.", kExecExamples},
    CommandSpec{
        serve, "serve", "", 0, 0, false, "answer the HTTP API",
        "Answers the HTTP API of docs/openapi.yaml on a unix socket, and with tokens on TCP, until it is told to end. "
        "It is a way to speak to sessions: those go on without it, and are found again by the next one. Sockets of a "
        "service manager (LISTEN_FDS) are used where there are some.",
        kServeExamples},
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

std::span<const CommandSpec> all_commands() {
  return kCommands;
}

const CommandSpec& spec_of(CommandId command) {
  for (const CommandSpec& spec : kCommands) {
    if (spec.id == command) return spec;
  }
  bug("every CommandId is in the table", __FILE__, __LINE__);
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
