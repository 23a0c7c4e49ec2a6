// `snapshot`, asked of a session: everything inside stands still while a child of the supervisor copies what was
// written into the caller's store (image/snapshot/store.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "image/snapshot/store.h"
#include "sandbox/living/inside.h"
#include "sandbox/sandbox.h"
#include "supervisor/run_options.h"
#include "supervisor/session/written_files.h"
#include "sys/child_process.h"
#include "sys/reactor.h"
#include "wire/session_reply.h"
#include "wire/session_request.h"

namespace weir::supervisor {

class SessionSnapshots {
 public:
  // What it is made of; all but `name` outlive the object.
  struct Ground {
    sys::Reactor& reactor;
    sandbox::Inside& inside;
    const RunOptions& run;
    std::string name;  // the session's; may be empty
  };
  // Less than so much of --disk would be no room to wake in.
  static constexpr std::uint64_t kLeastDisk = 1u << 20;

  // Once the sandbox stands and before the first process: what is there now is weir's own and stays out.
  static Result<std::unique_ptr<SessionSnapshots>> prepare(Ground ground, sandbox::Sandbox& sandbox);
  // Ends a copy that goes on; nothing of it stays but what the next one sweeps.
  ~SessionSnapshots();
  SessionSnapshots(const SessionSnapshots&) = delete;
  SessionSnapshots& operator=(const SessionSnapshots&) = delete;

  // The policy that is in force: the narrowest there was.
  struct Policy {
    std::string_view mode;
    std::string_view hash;
    // The narrowest mode in which a single run wrote what was kept; empty: none did.
    std::string_view kept_mode;
  };
  // What the sandbox has written, and weir before it: of what --disk counts. 0 where nobody knows.
  std::uint64_t disk_bytes() const;
  bool is_making() const { return static_cast<bool>(on_done_); }
  using OnDone = std::function<void(const wire::SessionReply&)>;
  // One at a time. `on_done` once, now or later, and not after the object is gone.
  void make(const wire::MakeSnapshot& request, const Policy& policy, OnDone on_done);
  // The session's own, kept as long as the file `kept_by` is there (image::Snapshot::kept_by). Where it could be made,
  // everything inside stands still from then on: until cancel().
  void make_for_sleep(std::string kept_by, const Policy& policy, OnDone on_done);
  // Ends what is being made, whose on_done is not called, and what make_for_sleep() has stopped. `on_moving` once, now
  // or later, when everything inside goes on; until then nothing can be begun there.
  void cancel(std::function<void()> on_moving);

 private:
  SessionSnapshots(Ground ground, WrittenFiles written) : ground_(std::move(ground)), written_(std::move(written)) {}
  image::Snapshot about(const Policy& policy) const;
  image::Limits limits() const;
  void begin(image::Snapshot about, OnDone on_done);
  void begin_copy(const image::Snapshot& about);
  void forget_copy();
  void on_readable();
  void finish(const wire::SessionReply& reply);

  Ground ground_;
  WrittenFiles written_;
  sys::ChildProcess copier_;
  sys::OwnedFd answer_;
  std::string text_;
  std::unique_ptr<sys::CallbackHandler> handler_;
  OnDone on_done_;                   // while one is made
  bool freezing_ = false;            // begun, and not confirmed
  bool for_sleep_ = false;           // the last one was
  std::function<void()> on_moving_;  // cancelled while freezing
};

}  // namespace weir::supervisor
