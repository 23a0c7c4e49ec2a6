// The audit stream of one sandbox: numbered, rolled up, written before what it records happens.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "audit/event.h"
#include "audit/tally.h"
#include "dial/recorder.h"
#include "supervisor/run_options.h"
#include "sys/reactor.h"

namespace weir::supervisor {

class AuditLog : public dial::Recorder {
 public:
  // A default file grows to this and no further: what was recorded is never given up for what comes later.
  static constexpr std::uint64_t kMaxDefaultFile = 64ull << 20;
  // Refusals of the last second that wait for their repeats; beyond it every repeat is written on its own.
  static constexpr std::size_t kMaxRollUps = 1024;

  // Opens the sink; nothing is written yet. An unwritable sink is an error: the sandbox does not start. A default file
  // that exists already is the record of another sandbox: an error with the code EEXIST.
  static Result<AuditLog> open(const EventsSink& sink, const audit::Envelope& envelope);

  // The same for one that slept: its own record goes on behind its last line, also in a default file, which is made
  // again where it was swept meanwhile. `sequence`: of that line, at least; counts where the sink cannot be read.
  static Result<AuditLog> open_again(const EventsSink& sink, const audit::Envelope& envelope, std::uint64_t sequence);

  // Timers for roll-ups run here. Without it repeats are written one by one.
  void attach(sys::Reactor& reactor) { reactor_ = &reactor; }

  bool record(audit::Event event) override;
  // One write for all lines. What could not be written whole is taken back where the sink allows it (a regular file).
  bool commit() override;

  // Writes what still waits for repeats.
  void flush_roll_ups();

  // Everything recorded from here on was decided by this policy. What was recorded before is written first, as what it
  // was.
  void begin_generation(const std::string& policy, std::uint64_t generation);

  // From here on the tally has flows and questions too, not the refusals alone: for whoever shows them at the end.
  void count_everything() { counts_everything_ = true; }
  // With --events none as well. Repeats of the last second count once they are written.
  const audit::Tally& tally() const { return tally_; }
  bool healthy() const override { return last_written_ && !full_; }
  std::uint64_t failed_commits() const override { return failed_commits_; }
  // Empty if every write succeeded; otherwise how the first one failed.
  const std::string& failure() const { return failure_; }
  // Empty for none and standard output.
  const std::string& path() const { return path_; }
  // Of the last line that was recorded.
  std::uint64_t sequence() const { return sequence_; }

 private:
  struct Repeats {
    audit::Event event;
    std::uint64_t count = 0;
    std::uint64_t sequence = 0;  // of the line that they repeat
  };

  AuditLog(const audit::Envelope& envelope, sys::OwnedFd fd, std::string path, EventsSink::Kind kind);
  enum class Default : std::uint8_t { must_be_new, may_be_there };
  static Result<AuditLog> open(const EventsSink& sink, const audit::Envelope& envelope, Default file);
  void go_on(std::uint64_t sequence);
  bool has_room_for(const audit::Event& event) const;
  bool take(const audit::Event& event);
  std::size_t write_lines();
  std::size_t write_whole_lines();
  void cut_off(std::size_t written);
  void note_failure(int cause);
  bool absorb(const audit::Event& event);
  void write_repeats(Repeats& repeats);
  void forget_repeats_of_nothing();
  void count(const audit::Event& event);

  audit::Envelope envelope_;
  audit::LineWriter writer_;
  sys::OwnedFd fd_;
  std::string path_;
  EventsSink::Kind kind_;
  sys::Reactor* reactor_ = nullptr;
  std::string lines_;  // recorded, not written yet
  std::uint64_t sequence_ = 0;
  std::uint64_t committed_sequence_ = 0;  // of the last line that was written
  std::uint64_t written_ = 0;
  bool regular_ = false;  // a regular file: always ready, and half a line can be cut off
  std::string failure_;
  bool last_written_ = true;
  bool full_ = false;  // a default file that has reached its end: a shorter line is not taken either
  std::uint64_t failed_commits_ = 0;
  std::map<std::string, Repeats> repeats_;
  audit::Tally tally_;
  bool counts_everything_ = false;
};

audit::Timestamp wall_clock();

}  // namespace weir::supervisor
