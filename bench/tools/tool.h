// What the load tools and the controls share: arguments, clocks, samples, one line of JSON as the result.
//
// A tool that cannot do its work says why on stderr and exits 1; a measured failure (a refused connection) is a number.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "net/ip_address.h"
#include "sys/owned_fd.h"
#include "sys/socket_address.h"

namespace weir::bench {

[[noreturn]] void die(const std::string& what);
[[noreturn]] void die_errno(const std::string& what);

template <class T>
T or_die(Result<T> result) {
  if (!result) die(result.error().what());
  return std::move(*result);
}
inline void or_die(const Result<>& result) {
  if (!result) die(result.error().what());
}

std::uint64_t now_ns();
std::uint64_t own_cpu_us();

// "NAME=VALUE" settings before "--", plain words, and the command after it.
struct Arguments {
  std::map<std::string, std::string> settings;
  std::vector<std::string> words;
  std::vector<char*> command;  // ends with a null pointer; empty without a command

  static Arguments parse(int argc, char** argv);
  // Ends the program with its usage unless there are so many plain words.
  static Arguments parse(int argc, char** argv, std::size_t words, const char* usage);
  std::uint64_t number(const std::string& name, std::uint64_t otherwise) const;
  std::string text(const std::string& name, const std::string& otherwise) const;
};

// "192.0.2.1:80" or "[2001:db8::1]:80".
sys::SocketAddress address_of(std::string_view text);

// Up to the hard limit.
void raise_descriptor_limit();

// A counter of /proc/net/netstat, section TcpExt, in the caller's network namespace.
std::uint64_t tcp_counter(std::string_view name);

// Durations in nanoseconds.
class Samples {
 public:
  void reserve(std::size_t count) { values_.reserve(count); }
  void add(std::uint64_t nanoseconds) { values_.push_back(nanoseconds); }
  // As fields of the object that `json` is in: samples, p50_ns, p99_ns, p999_ns, max_ns. Sorts.
  void write(JsonWriter& json);

 private:
  std::vector<std::uint64_t> values_;
};

// Non-blocking, TCP_NODELAY.
sys::OwnedFd tcp_socket(int family);

// A loop over epoll whose entries carry a number of the caller.
class Poller {
 public:
  struct Event {
    std::uint64_t id;
    std::uint32_t events;
  };

  Poller();
  void add(int fd, std::uint32_t events, std::uint64_t id) const;
  void modify(int fd, std::uint32_t events, std::uint64_t id) const;
  // Waits for at most `timeout_ms` (-1: for ever). The span lives until the next call.
  const std::vector<Event>& wait(int timeout_ms);

 private:
  sys::OwnedFd fd_;
  std::vector<Event> events_;
};

// The line that whoever started the tool waits for, and the result.
void print(JsonWriter& json);

}  // namespace weir::bench
