// The record of one process that has a network of its own: in the session's, with its number and its policy.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "audit/tally.h"
#include "dial/recorder.h"
#include "supervisor/record/audit_log.h"

namespace weir::supervisor {

class RunRecord : public dial::Recorder {
 public:
  // `log` outlives it. `number`: of the run, from 1. `policy`: the hash of what decides for it.
  RunRecord(AuditLog& log, std::uint64_t number, std::string policy)
      : log_(log), number_(number), policy_(std::move(policy)) {}

  // From here on another policy decides. What waits for repeats was decided by the one before.
  void begin_policy(std::string policy) {
    log_.flush_roll_ups();
    policy_ = std::move(policy);
  }

  // What it was refused: the session's own tally has nothing of it.
  const audit::Tally& refused() const { return refused_; }

  bool record(audit::Event event) override {
    event.run = number_;
    event.run_policy = policy_;
    if (audit::is_refusal(event.type)) refused_.add(event);
    return log_.record(std::move(event));
  }
  bool commit() override { return log_.commit(); }
  std::uint64_t failed_commits() const override { return log_.failed_commits(); }
  bool healthy() const override { return log_.healthy(); }

 private:
  AuditLog& log_;
  std::uint64_t number_;
  std::string policy_;
  audit::Tally refused_;
};

}  // namespace weir::supervisor
