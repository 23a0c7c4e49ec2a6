// ping_rtt ADDRESS [count=2000]
//
// Echo requests one after the other through an unprivileged ping socket; latency is send to the reply.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>

#include <array>

#include "tool.h"

int main(int argc, char** argv) {
  using namespace weir;
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv, 1, "ping_rtt ADDRESS [count=N]");
  const sys::SocketAddress target = address_of(arguments.words[0] + ":7");  // the port says nothing
  const sys::OwnedFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP));
  if (!fd.valid()) die_errno("cannot open a ping socket (net.ipv4.ping_group_range)");
  if (::connect(fd.get(), target.get(), target.size) != 0) die_errno("cannot connect");
  const std::uint64_t count = arguments.number("count", 2000);
  constexpr int kPatienceMs = 1000;
  Samples samples;
  std::uint64_t lost = 0;
  for (std::uint64_t i = 1; i <= count; ++i) {
    std::array<std::uint8_t, 64> message{};
    message[0] = ICMP_ECHO;
    message[6] = static_cast<std::uint8_t>(i >> 8);
    message[7] = static_cast<std::uint8_t>(i);
    const std::uint64_t began = now_ns();
    if (::send(fd.get(), message.data(), message.size(), 0) < 0) die_errno("cannot send");
    pollfd ready{.fd = fd.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, kPatienceMs) == 1 && ::recv(fd.get(), message.data(), message.size(), MSG_DONTWAIT) > 0) {
      samples.add(now_ns() - began);
    } else {
      ++lost;
    }
  }
  JsonWriter json;
  json.begin_object().field("lost", lost).field("cpu_us", own_cpu_us());
  samples.write(json);
  print(json.end_object());
}
