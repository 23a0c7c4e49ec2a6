// What inside.cc and inside_files.cc share.
#pragma once

#include <string>
#include <vector>

#include "sandbox/living/inside.h"

namespace weir::sandbox {

// Texts as they travel (control/texts.h), in a sealed memory file.
Result<sys::OwnedFd> passed_texts(const std::vector<std::string>& texts);

struct Inside::Process {
  OnBegun on_begun;
  OnEnded on_ended;
  std::string name;  // for people
  std::string folder;
  bool has_terminal = false;
  bool begun = false;
  sys::OwnedFd terminal;  // to resize
  sys::Reactor::TimerId deadline = 0;
};

struct Inside::File : sys::EventHandler {
  File(Inside& inside, Id number, control::StartFileTask::Do task) : owner(inside), id(number), what(task) {}
  void on_events(std::uint32_t) override { owner.on_file_message(id); }

  Inside& owner;
  Id id;
  control::StartFileTask::Do what;
  OnAnswer on_answer;
  OnDone on_done;
  sys::Channel channel;
  sys::OwnedFd pipe;  // the caller's end, until it has it
  sys::Reactor::TimerId deadline = 0;
  bool answered = false;
};

// A file task that is over for who asked for it. Only its child, and the order that begins it, hold the other end.
struct Inside::Leaving : sys::EventHandler {
  Leaving(Inside& inside, Id number, sys::Channel end) : owner(inside), id(number), channel(std::move(end)) {}
  void on_events(std::uint32_t) override;

  Inside& owner;
  Id id;
  sys::Channel channel;
};

}  // namespace weir::sandbox
