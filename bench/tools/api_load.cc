// api_load SOCKET first_byte [total=1] [body={}]            a session until the first byte of output of a command in it
// api_load - first_byte_of [total=1] -- COMMAND...          a command until the first byte of its own output
// api_load SOCKET stands [total=1] [body={}]                a session until it is told of; ended after that, unmeasured
// api_load SOCKET run [total=1] -- COMMAND...               a command in a live session, collected
// api_load SOCKET healthz [total=1] [-- COMMAND...]         a round trip, behind a start of the command where there is
// one api_load SOCKET many [total=1] [parallel=1] [body={}]     so many sessions, held until standard input ends
// api_load SOCKET cycle [total=1]                           sessions made and ended, one after the other
// api_load SOCKET put|get from=PATH to=PATH [session=ID]    a file into a session, or out of one
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "api.h"

namespace weir::bench {
namespace {

struct Load {
  const Arguments& arguments;
  std::string socket;
  std::uint64_t total;
  std::string body;
};

void report(Samples& samples, std::uint64_t began) {
  JsonWriter json;
  json.begin_object().field("elapsed_ns", now_ns() - began);
  samples.write(json);
  print(json.end_object());
}

// Each measured by `one`, which returns nanoseconds; the first, unmeasured, is everybody's first.
template <class One>
void measure(std::uint64_t total, One one) {
  one();
  Samples samples;
  const std::uint64_t began = now_ns();
  for (std::uint64_t i = 0; i < total; ++i) samples.add(one());
  report(samples, began);
}

std::string run_body(const Arguments& arguments) {
  JsonWriter json;
  json.begin_object().key("argv").begin_array();
  for (const char* word : arguments.command) {
    if (word != nullptr) json.value(std::string_view(word));
  }
  return json.end_array().end_object().text();
}

void first_byte(const Load& load) {
  Api api(load.socket);
  measure(load.total, [&] {
    const std::uint64_t began = now_ns();
    const std::string id = api.make_session(load.body);
    std::uint64_t first = 0;
    api.ask("POST", "/v1/sessions/" + id + "/run", R"({"argv":["echo"],"stream":true})", [&](std::string_view piece) {
      if (first == 0 && piece.find("\"stdout\"") != std::string_view::npos) first = now_ns();
    });
    if (first == 0) die("no byte of output came");
    api.end_session(id);
    return first - began;
  });
}

// To its end, with its output in a pipe. The time of its first byte of output, 0 where there was none.
std::uint64_t watch_command(const Arguments& arguments) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) die_errno("cannot make a pipe");
  const sys::OwnedFd reader(ends[0]);
  sys::OwnedFd writer(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writer.get(), STDOUT_FILENO);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, arguments.command[0], &actions, nullptr, arguments.command.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) die(std::string(arguments.command[0]) + ": " + ::strerror(error));
  writer.reset();
  std::array<char, 4096> buffer{};
  const bool any = ::read(reader.get(), buffer.data(), buffer.size()) > 0;
  const std::uint64_t first = any ? now_ns() : 0;
  while (::read(reader.get(), buffer.data(), buffer.size()) > 0) {
  }
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || status != 0) die("the command failed");
  return first;
}

void first_byte_of(const Load& load) {
  measure(load.total, [&] {
    const std::uint64_t began = now_ns();
    const std::uint64_t first = watch_command(load.arguments);
    if (first == 0) die("no byte of output came");
    return first - began;
  });
}

void stands(const Load& load) {
  Api api(load.socket);
  measure(load.total, [&] {
    const std::uint64_t began = now_ns();
    const std::string id = api.make_session(load.body);
    const std::uint64_t took = now_ns() - began;
    api.end_session(id);
    return took;
  });
}

void run(const Load& load) {
  Api api(load.socket);
  const std::string id = api.make_session(load.body);
  const std::string body = run_body(load.arguments);
  measure(load.total, [&] {
    const std::uint64_t began = now_ns();
    const Api::Reply ran = api.ask("POST", "/v1/sessions/" + id + "/run", body);
    const std::uint64_t took = now_ns() - began;
    if (ran.status != 200 || ran.body.find("\"exit_code\":0") == std::string::npos) die("it did not run: " + ran.body);
    return took;
  });
  api.end_session(id);
}

void healthz(const Load& load) {
  Api api(load.socket);
  measure(load.total, [&] {
    const std::uint64_t began = now_ns();
    if (!load.arguments.command.empty()) watch_command(load.arguments);
    if (api.ask("GET", "/healthz").status != 200) die("the daemon is not well");
    return now_ns() - began;
  });
}

// `parallel` connections at a time, each with its thread: `work` is called once for every number below total.
template <class Work>
void in_parallel(const Load& load, Work work) {
  std::atomic<std::uint64_t> next = 0;
  std::vector<std::thread> threads;
  const std::uint64_t parallel = load.arguments.number("parallel", 1);
  for (std::uint64_t i = 0; i < parallel; ++i) {
    threads.emplace_back([&] {
      Api api(load.socket);
      for (std::uint64_t mine = next++; mine < load.total; mine = next++) work(api, mine);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void many(const Load& load) {
  std::vector<std::string> ids(load.total);
  const std::uint64_t began = now_ns();
  in_parallel(load, [&](Api& api, std::uint64_t i) { ids[i] = api.make_session(load.body); });
  const std::uint64_t elapsed = now_ns() - began;
  JsonWriter json;
  print(json.begin_object().field("started", load.total).field("elapsed_ns", elapsed).end_object());
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  in_parallel(load, [&](Api& api, std::uint64_t i) { api.end_session(ids[i]); });
}

void cycle(const Load& load) {
  Api api(load.socket);
  measure(load.total, [&] {
    const std::uint64_t began = now_ns();
    api.end_session(api.make_session(load.body));
    return now_ns() - began;
  });
}

void put(const Load& load) {
  Api api(load.socket);
  const std::string target =
      "/v1/sessions/" + load.arguments.text("session", "") + "/files" + load.arguments.text("to", "/tmp/file");
  const std::uint64_t began = now_ns();
  const Api::Reply reply = api.put_file(target, load.arguments.text("from", ""));
  Samples samples;
  samples.add(now_ns() - began);
  if (reply.status != 204) die("not put: " + reply.body);
  report(samples, began);
}

void get(const Load& load) {
  Api api(load.socket);
  const std::string to = load.arguments.text("to", "");
  const std::string target =
      "/v1/sessions/" + load.arguments.text("session", "") + "/files" + load.arguments.text("from", "");
  const std::uint64_t began = now_ns();
  const sys::OwnedFd file(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) die_errno("cannot make " + to);
  const Api::Reply reply = api.ask("GET", target, {}, [&file](std::string_view piece) {
    while (!piece.empty()) {
      const ssize_t count = ::write(file.get(), piece.data(), piece.size());
      if (count <= 0) die_errno("cannot write what was got");
      piece.remove_prefix(static_cast<std::size_t>(count));
    }
  });
  Samples samples;
  samples.add(now_ns() - began);
  if (reply.status != 200) die("not got: status " + std::to_string(reply.status));
  report(samples, began);
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(
      argc, argv, 2,
      "api_load SOCKET first_byte|first_byte_of|stands|run|healthz|many|cycle|put|get [setting=value...]");
  raise_descriptor_limit();
  const std::map<std::string, void (*)(const Load&)> kinds = {{"first_byte", first_byte},
                                                              {"first_byte_of", first_byte_of},
                                                              {"stands", stands},
                                                              {"run", run},
                                                              {"healthz", healthz},
                                                              {"many", many},
                                                              {"cycle", cycle},
                                                              {"put", put},
                                                              {"get", get}};
  const auto kind = kinds.find(arguments.words[1]);
  if (kind == kinds.end()) die("there is no '" + arguments.words[1] + "'");
  kind->second({.arguments = arguments,
                .socket = arguments.words[0],
                .total = arguments.number("total", 1),
                .body = arguments.text("body", "{}")});
}
