// idle_connections ADDRESS:PORT [total=1000] [parallel=200]
//
// Opens connections, prints how many stand, and holds them until its standard input ends.
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>

#include <vector>

#include "tool.h"

int main(int argc, char** argv) {
  using namespace weir;
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv, 1, "idle_connections ADDRESS:PORT [total=N] [parallel=N]");
  const sys::SocketAddress target = address_of(arguments.words[0]);
  const std::uint64_t total = arguments.number("total", 1000);
  const std::uint64_t parallel = arguments.number("parallel", 200);
  raise_descriptor_limit();
  std::vector<sys::OwnedFd> connections;
  Poller poller;
  std::uint64_t open = 0;
  std::uint64_t failed = 0;
  while (open + failed < total) {
    while (connections.size() < total && connections.size() - open - failed < parallel) {
      sys::OwnedFd fd = tcp_socket(target.family());
      if (::connect(fd.get(), target.get(), target.size) != 0 && errno != EINPROGRESS) die_errno("cannot connect");
      poller.add(fd.get(), EPOLLOUT | EPOLLONESHOT, connections.size());
      connections.push_back(std::move(fd));
    }
    const auto& events = poller.wait(10'000);
    if (events.empty()) die("no connection for 10 s after " + std::to_string(open));
    for (const auto& event : events) ++((event.events & (EPOLLERR | EPOLLHUP)) != 0 ? failed : open);
  }
  JsonWriter json;
  print(json.begin_object().field("open", open).field("failed", failed).end_object());
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
}
