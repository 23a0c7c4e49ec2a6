#include "dial/resolv_conf.h"

#include "sys/files.h"

namespace weir::dial {

namespace {

constexpr std::size_t kMaxServers = 3;
constexpr std::size_t kMaxFile = 64 * 1024;
constexpr net::Port kDnsPort = 53;

std::string_view next_word(std::string_view& line) {
  const std::size_t start = line.find_first_not_of(" \t\r");
  if (start == std::string_view::npos) return {};
  line.remove_prefix(start);
  const std::string_view word = line.substr(0, line.find_first_of(" \t\r"));
  line.remove_prefix(word.size());
  return word;
}

}  // namespace

std::vector<net::Endpoint> parse_resolv_conf(std::string_view text) {
  std::vector<net::Endpoint> servers;
  while (!text.empty() && servers.size() < kMaxServers) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (next_word(line) != "nameserver") continue;
    if (const auto address = net::IpAddress::parse(next_word(line))) servers.push_back({*address, kDnsPort});
  }
  return servers;
}

std::vector<net::Endpoint> host_resolvers() {
  const auto text = sys::read_file("/etc/resolv.conf", kMaxFile);
  return text ? parse_resolv_conf(*text) : std::vector<net::Endpoint>{};
}

}  // namespace weir::dial
