// One file task: what a child of init does to files of the sandbox, and then ends.
//
// It has the rights of the sandbox's user and its root, so no path leads it further than a program inside gets. What it
// adds is that no path leads through itself: links of /proc are not followed, and files of the kernel (a process's
// memory ...) are none. Programs inside may kill it, or stop it: whoever waits for it has a deadline.
#pragma once

#include <string>

#include "control/init_messages.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

struct FileTask {
  const control::StartFileTask& order;
  const std::string& path;
  const sys::OwnedFd& supervisor;  // the child's end of the task's socket
  int pipe = -1;                   // list, tar: to write; untar: to read
};

// In the child, right after fork(). Undumpable and confined like init, of which it is a copy.
[[noreturn]] void run_file_task(const FileTask& task);

// Init's answer where there is no child.
void say_failed(const sys::OwnedFd& supervisor, const Error& error);

// A regular file that is stored somewhere: none that the kernel makes up while it is read.
bool is_stored_file(int fd);

}  // namespace weir::sandbox
