#include "tool.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>

#include "sys/errno.h"

namespace weir::bench {

void die(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, what.c_str());
  std::exit(1);
}

void die_errno(const std::string& what) {
  die(what + ": " + sys::errno_text(errno));
}

std::uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t own_cpu_us() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

Arguments Arguments::parse(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") {
      out.command.assign(argv + i + 1, argv + argc);
      if (out.command.empty()) die("no command after --");
      out.command.push_back(nullptr);
      break;
    }
    const auto equals = word.find('=');
    if (equals == std::string::npos) {
      out.words.push_back(word);
    } else {
      out.settings[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  return out;
}

Arguments Arguments::parse(int argc, char** argv, std::size_t words, const char* usage) {
  Arguments out = parse(argc, argv);
  if (out.words.size() != words) die(std::string("usage: ") + usage);
  return out;
}

std::uint64_t Arguments::number(const std::string& name, std::uint64_t otherwise) const {
  const auto found = settings.find(name);
  if (found == settings.end()) return otherwise;
  std::uint64_t value = 0;
  const char* end = found->second.data() + found->second.size();
  const auto [stop, problem] = std::from_chars(found->second.data(), end, value);
  if (problem != std::errc{} || stop != end) die(name + "=" + found->second + " is no number");
  return value;
}

std::string Arguments::text(const std::string& name, const std::string& otherwise) const {
  const auto found = settings.find(name);
  return found == settings.end() ? otherwise : found->second;
}

sys::SocketAddress address_of(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) die(std::string(text) + " is not ADDRESS:PORT");
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return sys::SocketAddress::of({or_die(net::IpAddress::parse(host)), or_die(net::parse_port(text.substr(colon + 1)))});
}

void raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::uint64_t tcp_counter(std::string_view name) {
  std::ifstream file("/proc/net/netstat");
  std::string names;
  std::string values;
  while (std::getline(file, names) && std::getline(file, values)) {
    std::istringstream keys(names);
    std::istringstream numbers(values);
    std::string key;
    std::string number;
    while (keys >> key && numbers >> number) {
      if (key == name) return std::strtoull(number.c_str(), nullptr, 10);
    }
  }
  die("/proc/net/netstat has no " + std::string(name));
}

void Samples::write(JsonWriter& json) {
  std::ranges::sort(values_);
  const auto at = [this](std::uint64_t per_mille) {
    if (values_.empty()) return std::uint64_t{0};
    return values_[std::min(values_.size() - 1, values_.size() * per_mille / 1000)];
  };
  json.field("samples", std::uint64_t{values_.size()})
      .field("p50_ns", at(500))
      .field("p99_ns", at(990))
      .field("p999_ns", at(999))
      .field("max_ns", values_.empty() ? std::uint64_t{0} : values_.back());
}

sys::OwnedFd tcp_socket(int family) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die_errno("cannot open a socket");
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return sys::OwnedFd(fd);
}

Poller::Poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!fd_.valid()) die_errno("cannot make an epoll descriptor");
}

void Poller::add(int fd, std::uint32_t events, std::uint64_t id) const {
  epoll_event event{.events = events, .data = {.u64 = id}};
  if (::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) != 0) die_errno("cannot watch a descriptor");
}

void Poller::modify(int fd, std::uint32_t events, std::uint64_t id) const {
  epoll_event event{.events = events, .data = {.u64 = id}};
  if (::epoll_ctl(fd_.get(), EPOLL_CTL_MOD, fd, &event) != 0) die_errno("cannot watch a descriptor");
}

const std::vector<Poller::Event>& Poller::wait(int timeout_ms) {
  std::array<epoll_event, 256> ready{};
  const int count = ::epoll_wait(fd_.get(), ready.data(), static_cast<int>(ready.size()), timeout_ms);
  events_.clear();
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = ready[static_cast<std::size_t>(i)];
    events_.push_back({.id = event.data.u64, .events = event.events});
  }
  return events_;
}

void print(JsonWriter& json) {
  std::printf("%s\n", json.text().c_str());
  std::fflush(stdout);
}

}  // namespace weir::bench
