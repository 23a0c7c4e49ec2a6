// first_byte NAME PORT [total=1] [fresh=1]
//
// What a user waits for: resolve the name at the first name server of /etc/resolv.conf, connect, ask for a page, take
// the first byte of the answer. With fresh=1 each attempt asks for another name below NAME (nothing is cached).
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

#include <array>
#include <fstream>
#include <sstream>

#include "tool.h"

namespace weir::bench {
namespace {

constexpr int kPatienceMs = 5000;

net::IpAddress name_server() {
  std::ifstream file("/etc/resolv.conf");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string key;
    std::string value;
    if (words >> key >> value && key == "nameserver") return or_die(net::IpAddress::parse(value));
  }
  die("/etc/resolv.conf names no server");
}

std::string question(const std::string& name, std::uint16_t id) {
  std::string out{static_cast<char>(id >> 8), static_cast<char>(id & 0xff), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  std::istringstream labels(name);
  std::string label;
  while (std::getline(labels, label, '.')) out += static_cast<char>(label.size()) + label;
  return out + std::string("\0\0\1\0\1", 5);  // root, A, IN
}

void wait_for(int fd, short events, const char* what) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  if (::poll(&entry, 1, kPatienceMs) != 1) die(std::string("no ") + what + " within 5 s");
}

// The last record of an answer of ours is an A record: its address is the last four bytes, EDNS is never asked for.
net::IpAddress resolve(const sys::SocketAddress& server, const std::string& name, std::uint16_t id) {
  const sys::OwnedFd fd(::socket(server.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid() || ::connect(fd.get(), server.get(), server.size) != 0) die_errno("cannot reach the name server");
  const std::string query = question(name, id);
  if (::send(fd.get(), query.data(), query.size(), 0) < 0) die_errno("cannot ask the name server");
  wait_for(fd.get(), POLLIN, "answer of the name server");
  std::array<std::uint8_t, 512> answer{};
  const ssize_t size = ::recv(fd.get(), answer.data(), answer.size(), 0);
  if (size < 16 || (answer[3] & 0x0f) != 0 || answer[7] == 0) die("no address for " + name);
  net::IpAddress::V4 octets{};
  ::memcpy(octets.data(), answer.data() + size - 4, 4);
  return net::IpAddress::v4(octets);
}

void fetch(const net::Endpoint& target, const std::string& name) {
  const sys::SocketAddress address = sys::SocketAddress::of(target);
  const sys::OwnedFd fd = tcp_socket(address.family());
  if (::connect(fd.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) die_errno("cannot connect");
  wait_for(fd.get(), POLLOUT, "connection");
  const std::string request = "GET / HTTP/1.1\r\nHost: " + name + "\r\n\r\n";
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) die_errno("cannot ask for the page");
  wait_for(fd.get(), POLLIN, "answer");
  char byte = 0;
  if (::recv(fd.get(), &byte, 1, 0) != 1) die_errno("no first byte");
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir;
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv, 2, "first_byte NAME PORT [total=N] [fresh=1]");
  const net::Port port = or_die(net::parse_port(arguments.words[1]));
  const sys::SocketAddress server = sys::SocketAddress::of({name_server(), 53});
  const std::uint64_t total = arguments.number("total", 1);
  const bool fresh = arguments.number("fresh", 0) != 0;
  Samples latency;
  for (std::uint64_t i = 0; i < total; ++i) {
    const std::string name = (fresh ? "n" + std::to_string(i) + "." : "") + arguments.words[0];
    const std::uint64_t began = now_ns();
    fetch({resolve(server, name, static_cast<std::uint16_t>(i + 1)), port}, name);
    latency.add(now_ns() - began);
  }
  JsonWriter json;
  json.begin_object();
  latency.write(json);
  print(json.end_object());
}
