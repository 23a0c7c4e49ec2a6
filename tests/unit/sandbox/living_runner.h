// A sandbox that lives on, in a supervisor process of its own; what the work there says is compared by the test.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sandbox/living/inside.h"
#include "sandbox_runner.h"

namespace weir::sandbox::testing {

// Waits for each thing that it asks for; what takes longer than 50 seconds ends the process with 97.
class Live {
 public:
  Live(sys::Reactor& reactor, Sandbox& sandbox, Inside& inside)
      : reactor_(reactor), sandbox_(sandbox), inside_(inside) {}

  struct Ran {
    std::string out;
    Inside::Ended ended;
    std::string text() const;  // "out|status" or the error
    std::string failure;       // could not be begun
  };
  Ran run(const std::vector<std::string>& argv, const std::string& workdir = "");
  Ran shell(const std::string& script) { return run({"sh", "-c", script}); }
  // Runs on; what it prints goes nowhere. Its id.
  Inside::Id begin(const std::string& script);
  // Until a process of begin() has ended: its status.
  int wait(Inside::Id process);

  using Do = Inside::FileTask::Do;
  // What it answered, and how it ended: "" when all went well, otherwise the error.
  struct Done {
    Inside::FileAnswer answer;
    std::string content;  // get, list, tar: what could be read
    std::string failure;
    int code = 0;
  };
  // untar: `content` is written into the pipe.
  Done file(Inside::FileTask task, const std::string& content = "");
  std::string get(const std::string& path);
  // Empty, or the error.
  std::string put(const std::string& path, const std::string& content, std::uint32_t mode = 0644);
  std::string freeze();

  Inside& inside() { return inside_; }
  Sandbox& sandbox() { return sandbox_; }
  sys::Reactor& reactor() { return reactor_; }
  // Until `done` says so, after each thing that happened.
  void until(const std::function<bool()>& done);
  bool broken() const { return broken_; }
  const std::string& reason() const { return reason_; }
  void on_control();

 private:
  sys::Reactor& reactor_;
  Sandbox& sandbox_;
  Inside& inside_;
  std::map<Inside::Id, int> ended_;
  bool broken_ = false;
  std::string reason_;
};

Spec living();

// What `work` returned, or what was wrong.
std::string live(const Spec& spec, As as, const std::function<std::string(Live&)>& work);
inline std::string live(As as, const std::function<std::string(Live&)>& work) {
  return live(living(), as, work);
}

}  // namespace weir::sandbox::testing
