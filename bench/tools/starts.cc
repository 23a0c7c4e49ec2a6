#include "starts.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <unordered_map>

namespace weir::bench {
namespace {

std::uint64_t children_cpu_us() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  return static_cast<std::uint64_t>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

void hold(const std::function<pid_t()>& start, std::uint64_t total) {
  std::vector<pid_t> running;
  for (std::uint64_t i = 0; i < total; ++i) running.push_back(start());
  JsonWriter json;
  print(json.begin_object().field("started", total).end_object());
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  for (const pid_t pid : running) ::kill(pid, SIGTERM);
  // The first process of a pid namespace does not mind SIGTERM.
  ::sleep(1);
  for (const pid_t pid : running) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

}  // namespace

void run_starts(const Arguments& arguments, const std::function<pid_t()>& start) {
  if (arguments.command.empty()) die("no command: end the settings with -- COMMAND");
  raise_descriptor_limit();
  std::uint64_t left = arguments.number("total", 1);
  if (arguments.number("hold", 0) != 0) return hold(start, left);
  const std::uint64_t parallel = arguments.number("parallel", 1);
  std::unordered_map<pid_t, std::uint64_t> running;
  Samples latency;
  std::uint64_t errors = 0;
  const std::uint64_t began = now_ns();
  while (left > 0 || !running.empty()) {
    for (; left > 0 && running.size() < parallel; --left) {
      const std::uint64_t start_ns = now_ns();
      running.emplace(start(), start_ns);
    }
    int status = 0;
    const auto ended = running.find(::wait(&status));
    if (ended == running.end()) continue;
    latency.add(now_ns() - ended->second);
    if (status != 0) ++errors;
    running.erase(ended);
  }
  JsonWriter json;
  json.begin_object()
      .field("elapsed_ns", now_ns() - began)
      .field("errors", errors)
      .field("children_cpu_us", children_cpu_us());
  latency.write(json);
  print(json.end_object());
}

}  // namespace weir::bench
