#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "audit/receipt.h"
#include "base/failure_line.h"
#include "base/json.h"
#include "changes/keep.h"
#include "supervisor/command_run.h"
#include "supervisor/record/limit_report.h"
#include "supervisor/run_options.h"
#include "supervisor/sandbox_id.h"
#include "supervisor/session/life_events.h"
#include "sys/errno.h"
#include "sys/pending_file.h"

namespace weir::supervisor {

namespace {

// Lines of the summary; the rest is in the event file.
constexpr std::size_t kSummaryLines = 5;

void say(const Error& line) {
  std::fputs(failure_line(line).c_str(), stderr);
}
void say(const std::string& line) {
  say(Error(line));
}

// The ports that weir has chosen: nobody else knows them.
void say_chosen_ports(const RunOptions& options, const std::vector<PublishedPort>& ports) {
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (options.publishes[i].host == 0) say("published " + policy::publish_text(ports[i].publish));
  }
}

void summarise_text(const AuditLog& log) {
  const auto refused = log.tally().refused();
  // Only a person may be told how to open the door: a program that reads stderr must not be talked into it by a name
  // that the guest chose.
  const bool person = ::isatty(STDERR_FILENO) == 1;
  for (std::size_t i = 0; i < refused.size() && i < kSummaryLines; ++i) {
    const audit::RefusedDestination& entry = refused[i];
    std::string line = "refused " + entry.what + " (" + entry.reason + ")";
    if (entry.times > 1) line += ", " + std::to_string(entry.times) + " times";
    if (person && entry.reason == "no-rule") line += "; to allow: --allow " + entry.what;
    say(line);
  }
  if (refused.size() > kSummaryLines)
    say("and " + std::to_string(refused.size() - kSummaryLines) +
        " more: " + (log.path().empty() ? "record them with --events FILE" : "see " + log.path()));
}

void summarise_limits(const Ending& ending) {
  for (const audit::LimitHit& hit : ending.limits) {
    // Those that ended the command have been said as its end.
    if (hit.limit == "pids" || hit.limit == "disk") say(text_of(hit));
  }
}

void summarise_json(const AuditLog& log, const Ending& ending) {
  JsonWriter json;
  json.begin_object().field("exit_code", std::int64_t{ending.exit_code});
  json.key("refused").begin_array();
  for (const audit::RefusedDestination& entry : log.tally().refused()) {
    json.begin_object();
    json.field("destination", std::string_view(entry.what))
        .field("reason", std::string_view(entry.reason))
        .field("times", entry.times);
    json.end_object();
  }
  json.end_array().key("limits").begin_array();
  for (const audit::LimitHit& hit : ending.limits) audit::write_limit(json, hit);
  json.end_array().end_object();
  std::fprintf(stderr, "%s\n", json.text().c_str());
}

void summarise(const AuditLog& log, const RunOptions& options, const Ending& ending) {
  if (options.summary == SummaryFormat::json) return summarise_json(log, ending);
  if (options.verbosity == Verbosity::quiet) return;
  summarise_limits(ending);
  summarise_text(log);
}

// The record of another sandbox is never continued: an id that has one already is drawn again.
Result<AuditLog> open_log(RunOptions& options) {
  constexpr int kMaxDraws = 8;  // of 2^32 ids: a second one is rare enough
  for (int draws = 1;; ++draws) {
    auto log =
        AuditLog::open(options.events, {.sandbox = options.spec.id, .policy = options.policy_hash, .generation = 1});
    if (log || log.error().code() != EEXIST || draws == kMaxDraws) return log;
    WEIR_TRY(std::string id, new_sandbox_id());
    if (options.name == options.spec.id) options.name = id;
    options.spec.id = std::move(id);
  }
}

// Both files of --receipt, found to be writable before anything starts.
struct ReceiptFiles {
  sys::PendingFile text;
  sys::PendingFile json;
};

Result<std::optional<ReceiptFiles>> prepare_receipt(const RunOptions& options) {
  if (options.receipt.empty()) return std::nullopt;
  auto text = in_context(sys::PendingFile::prepare(options.receipt), "option --receipt");
  auto json = in_context(sys::PendingFile::prepare(options.receipt + ".json"), "option --receipt");
  if (!text || !json) {
    Error error = text ? std::move(json).error() : std::move(text).error();
    return std::unexpected(std::move(error).with_remedy("name another file"));
  }
  return ReceiptFiles{.text = std::move(*text), .json = std::move(*json)};
}

Result<> write_receipt(const ReceiptFiles& files, const audit::Receipt& receipt) {
  WEIR_CHECK_OK(files.json.write(as_bytes(audit::receipt_json(receipt))));
  return files.text.write(as_bytes(audit::receipt_text(receipt)));
}

audit::Receipt begin_receipt(const RunOptions& options) {
  return {.sandbox = options.spec.id,
          .name = options.name,
          .command = options.spec.argv.front(),
          .mode = options.policy_mode,
          .policy = options.policy_hash,
          .floor = options.floor_hash,
          .started = audit::rfc3339(wall_clock()),
          .notices = options.start_notices};
}

void end_receipt(audit::Receipt& receipt, const Ending& ending, const AuditLog& log) {
  receipt.ended = audit::rfc3339(wall_clock());
  receipt.exit_code = ending.exit_code;
  if (ending.error) receipt.error = ending.error->what();
  receipt.record = log.path();
  receipt.incomplete = log.failure();
  receipt.tally = log.tally();
}

Result<std::optional<changes::Keeper>> prepare_keeper(const RunOptions& options) {
  if (options.changes_folder.empty()) return std::nullopt;
  auto keeper = changes::Keeper::prepare(options.changes_folder, {.sandbox = options.spec.id,
                                                                  .folder = options.called_in,
                                                                  .command = options.spec.argv.front(),
                                                                  .started = audit::rfc3339(wall_clock())});
  if (!keeper) return std::unexpected(std::move(keeper).error().context("option --keep-changes"));
  return std::optional(std::move(*keeper));
}

// The id is said even where nothing was changed: whoever asks for the changes of this run shall not get those of
// another.
Result<> finish_keeper(changes::Keeper& keeper, const RunOptions& options, Ending& ending) {
  if (ending.not_kept) return std::unexpected(*ending.not_kept);
  WEIR_TRY(const changes::Manifest kept, keeper.finish());
  ending.files.kept = !kept.shares.empty();
  if (options.verbosity == Verbosity::quiet || kept.shares.empty()) return {};
  const auto lost = static_cast<std::uint64_t>(
      std::ranges::count_if(kept.entries, [](const changes::KeptEntry& entry) { return !entry.not_kept.empty(); }));
  const std::string missing =
      lost + kept.left_out == 0 ? "" : ", " + std::to_string(lost + kept.left_out) + " could not be";
  say("kept " + std::to_string(kept.entries.size() - lost) + " changes" + missing + ": weir diff " + kept.sandbox);
  return {};
}

int own_failure(const Error& error) {
  say(error);
  return kExitOwnFailure;
}

}  // namespace

int run(RunOptions options) {
  const auto receipt_files = prepare_receipt(options);
  if (!receipt_files) return own_failure(receipt_files.error());
  auto reactor = sys::Reactor::create();
  auto ports = open_published_ports(options.publishes);
  if (!ports) return own_failure(ports.error());
  // It builds itself while the record is opened, and its command runs when the record says so.
  auto sandbox = sandbox::Sandbox::prepare(options.spec);
  auto log = open_log(options);
  if (!reactor || !log) return own_failure(reactor ? log.error() : reactor.error());
  audit::Receipt receipt = begin_receipt(options);
  if (options.verbosity != Verbosity::quiet) {
    for (const std::string& notice : options.start_notices) say(notice);
    say_chosen_ports(options, *ports);
    if (options.after)
      say("weir seal " + options.spec.id + " enters [after], mode " +
          std::string(policy::name_of(options.after->layer.mode)));
  }
  if (!log->record(start_event(options, *ports)) || !log->commit()) {
    return own_failure(Error(log->failure()).with_remedy("name another file with --events FILE, or --events none"));
  }
  log->attach(*reactor);
  if (*receipt_files || options.afterwards) log->count_everything();
  auto keeper = prepare_keeper(options);
  if (!keeper) return own_failure(keeper.error());
  CommandRun command(options, std::move(*ports), *reactor, *log, std::move(sandbox));
  if (*keeper) command.keep_changes_with(**keeper);
  Ending ending = command.run();
  log->record(exit_event(ending));
  log->commit();
  if (ending.error) say(*ending.error);
  if (!log->failure().empty()) say(log->failure() + "; new connections were refused (audit)");
  summarise(*log, options, ending);
  const auto kept = *keeper ? finish_keeper(**keeper, options, ending) : Result<>();
  if (*receipt_files) {
    receipt.files = std::move(ending.files);
    end_receipt(receipt, ending, *log);
    // Whoever asked for it must not take its absence for a run without it.
    if (const auto written = write_receipt(**receipt_files, receipt); !written) return own_failure(written.error());
  }
  // As above.
  if (!kept) return own_failure(kept.error());
  if (options.afterwards) {
    const auto text = options.afterwards(log->tally());
    if (!text) return own_failure(text.error());
    if (std::fputs(text->c_str(), stdout) < 0 || std::fflush(stdout) != 0)
      return own_failure(sys::errno_error("cannot write the output").error());
  }
  return ending.exit_code;
}

}  // namespace weir::supervisor
