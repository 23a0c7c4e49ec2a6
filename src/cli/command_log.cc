// weir log: records, printed, followed or added up.
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "audit/event_text.h"
#include "audit/tally.h"
#include "base/failure_line.h"
#include "base/json.h"
#include "cli/command.h"
#include "supervisor/record/audit_log.h"
#include "supervisor/record/events_sweep.h"
#include "supervisor/state_folder.h"
#include "sys/line_file.h"

namespace weir::cli {
namespace {

// Damage that is told line by line; of what comes after only the number.
constexpr std::size_t kMaxComplaints = 20;
// A supervisor that was killed writes no end: after this time without an event its lock is looked at.
constexpr int kQuietMs = 500;
// Sandboxes of one file that are told apart, for gaps; a file of more has none found.
constexpr std::size_t kMaxSandboxes = 65536;

struct LogPlan {
  std::vector<std::string> files;
  audit::EventFilter filter;
  OutputFormat format = OutputFormat::text;
  enum class Ends : std::uint8_t { with_the_file, with_the_sandbox };
  Ends ends = Ends::with_the_file;
  enum class Prints : std::uint8_t { events, summary };
  Prints prints = Prints::events;
};

class LogPrinter {
 public:
  LogPrinter(const LogPlan& plan, const Streams& streams) : plan_(plan), streams_(streams) {}

  // The exit code.
  Result<int> print() {
    for (const std::string& file : plan_.files) {
      WEIR_TRY(sys::LineFile lines, sys::LineFile::open(file));
      WEIR_CHECK_OK(print_file(lines));
    }
    if (plan_.prints == LogPlan::Prints::summary) WEIR_CHECK_OK(print_summary());
    if (complaints_ > kMaxComplaints)
      WEIR_CHECK_OK(streams_.err("weir: and " + std::to_string(complaints_ - kMaxComplaints) + " more\n"));
    return complaints_ == 0 ? 0 : 1;
  }

 private:
  Result<> print_file(sys::LineFile& lines) {
    line_ = 0;
    last_.clear();
    running_.clear();
    while (true) {
      WEIR_CHECK_OK(print_what_is_there(lines));
      if (has_ended(lines)) break;
      WEIR_CHECK_OK(flush());
      WEIR_CHECK_OK(lines.wait(kQuietMs));
    }
    if (lines.has_half_line()) {
      ++line_;
      WEIR_CHECK_OK(complain(lines, "the last line is not whole"));
    }
    return flush();
  }

  Result<> print_what_is_there(sys::LineFile& lines) {
    changed_ = false;
    while (true) {
      WEIR_TRY(const auto line, lines.next_line(audit::kMaxLine));
      if (!line) return {};
      changed_ = true;
      ++line_;
      WEIR_CHECK_OK(take(lines, *line));
    }
  }

  Result<> take(const sys::LineFile& lines, const std::string& line) {
    const auto recorded = audit::parse_line(line);
    if (!recorded) return complain(lines, recorded.error().what());
    WEIR_CHECK_OK(check_sequence(lines, *recorded));
    if (recorded->event.type == audit::EventType::sandbox_start) running_.insert(recorded->sandbox);
    if (recorded->event.type == audit::EventType::sandbox_exit) running_.erase(recorded->sandbox);
    if (!plan_.filter.passes(recorded->event)) return {};
    if (plan_.prints == LogPlan::Prints::summary) {
      tally_.add(recorded->event, recorded->sandbox);
      return {};
    }
    // A line that was understood is printable ASCII.
    out_ += plan_.format == OutputFormat::json ? line : audit::event_text(*recorded);
    out_ += '\n';
    return out_.size() < kFlushAt ? Result<>() : flush();
  }

  // Numbers have no gaps within a sandbox: a line that is missing was taken away.
  Result<> check_sequence(const sys::LineFile& lines, const audit::RecordedEvent& recorded) {
    if (last_.size() >= kMaxSandboxes && !last_.contains(recorded.sandbox)) return {};
    const auto [entry, is_first] = last_.try_emplace(recorded.sandbox, 0);
    const std::uint64_t expected = entry->second + 1;
    entry->second = recorded.sequence;
    if (recorded.sequence == expected) return {};
    return complain(lines, "event " + std::to_string(recorded.sequence) + " of " + recorded.sandbox + " where " +
                               std::to_string(expected) + " is due: lines are missing or out of order");
  }

  // Following, a line may still be written, and so may what comes after the last one.
  bool has_ended(const sys::LineFile& lines) const {
    if (plan_.ends == LogPlan::Ends::with_the_file) return true;
    if (!last_.empty() && running_.empty()) return true;
    return !changed_ && !supervisor::is_being_written(lines.fd());
  }

  Result<> complain(const sys::LineFile& lines, const std::string& what) {
    WEIR_CHECK_OK(flush());
    if (++complaints_ > kMaxComplaints) return {};
    return streams_.err(failure_line(Error(lines.path() + ":" + std::to_string(line_) + ": " + what)));
  }

  Result<> flush() {
    const std::string text = std::move(out_);
    out_.clear();
    return text.empty() ? Result<>() : streams_.out(text);
  }

  Result<> print_summary() {
    if (plan_.format == OutputFormat::text) {
      return streams_.out(tally_.empty() ? "nothing was tried\n" : audit::tally_text(tally_));
    }
    JsonWriter json;
    json.begin_object();
    audit::write_tally(json, tally_);
    json.end_object();
    return streams_.out(json.take() + "\n");
  }

  static constexpr std::size_t kFlushAt = 64u << 10;

  const LogPlan& plan_;
  const Streams& streams_;
  audit::Tally tally_;
  std::uint64_t line_ = 0;                     // of the file that is read
  std::map<std::string, std::uint64_t> last_;  // sequence numbers
  std::set<std::string> running_;              // sandboxes that began and have not ended
  bool changed_ = false;                       // since the last wait
  std::string out_;
  std::size_t complaints_ = 0;
};

// Every record, or the newest.
Result<std::vector<std::string>> default_files(LogPlan::Ends ends) {
  WEIR_TRY(const std::string folder, supervisor::default_events_folder());
  std::vector<std::string> files = supervisor::records_of(folder);
  if (files.empty()) {
    return std::unexpected(
        Error("no records in " + folder).with_remedy("weir run writes one; name a file written with --events FILE"));
  }
  if (ends == LogPlan::Ends::with_the_sandbox) files.erase(files.begin(), files.end() - 1);
  for (std::string& file : files) file.insert(0, folder + "/");
  return files;
}

Result<std::string> file_of(const std::string& operand) {
  if (!supervisor::is_sandbox_id(operand)) return operand;
  WEIR_TRY(const std::string folder, supervisor::default_events_folder());
  return folder + "/" + operand + ".jsonl";
}

Result<LogPlan> plan_of(const CommandLine& line) {
  LogPlan plan;
  WEIR_TRY(plan.format, output_format(line));
  if (line.has(OptionId::follow)) plan.ends = LogPlan::Ends::with_the_sandbox;
  if (line.has(OptionId::summary)) plan.prints = LogPlan::Prints::summary;
  for (const std::string& type : line.values(OptionId::event_type))
    WEIR_CHECK_OK(in_context(plan.filter.add_type(type), "option --type"));
  for (const std::string& name : line.values(OptionId::event_name))
    WEIR_CHECK_OK(in_context(plan.filter.add_name(name), "option --name"));
  if (const auto verdict = line.value(OptionId::verdict))
    WEIR_CHECK_OK(in_context(plan.filter.set_verdict(*verdict), "option --verdict"));
  if (line.operands.empty()) {
    WEIR_TRY(plan.files, default_files(plan.ends));
  } else {
    WEIR_TRY(std::string file, file_of(line.operands[0]));
    plan.files.push_back(std::move(file));
  }
  return plan;
}

}  // namespace

Result<Outcome> log_command(const CommandLine& line) {
  WEIR_TRY(LogPlan plan, plan_of(line));
  Outcome outcome;
  outcome.stream = [plan = std::move(plan)](const Streams& streams) { return LogPrinter(plan, streams).print(); };
  return outcome;
}

}  // namespace weir::cli
