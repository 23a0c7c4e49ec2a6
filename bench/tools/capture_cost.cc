// capture_cost [total=50] [nft=FILE] [only=NAME]
//
// In a fresh user and network namespace each: the time of weir's whole capture, of its nftables transaction alone, of
// the smallest nftables transaction, of one netlink round trip (about a link), and of `nft -f FILE`. `print=1` prints
// the rules for that file.
#include <linux/rtnetlink.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "netlink/nftables.h"
#include "netlink/route.h"
#include "netlink/socket.h"
#include "sandbox/network/capture.h"
#include "sys/throwaway_child.h"
#include "tool.h"

namespace weir::bench {
namespace {

// The nanoseconds of `work` in a fresh namespace, as text.
std::uint64_t in_new_network(const std::function<Result<std::string>()>& work) {
  const std::string text = or_die(sys::in_throwaway_child([&work]() -> Result<std::string> {
    WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
    if (::unshare(CLONE_NEWNET) != 0) die_errno("cannot make a network namespace");
    return work();
  }));
  return std::strtoull(text.c_str(), nullptr, 10);
}

template <class Work>
Result<std::string> timed(Work work) {
  const std::uint64_t began = now_ns();
  WEIR_CHECK_OK(work());
  return std::to_string(now_ns() - began);
}

Result<> spawn(std::vector<const char*> argv) {
  argv.push_back(nullptr);
  pid_t pid = 0;
  int status = 0;
  if (::posix_spawnp(&pid, argv[0], nullptr, nullptr, const_cast<char* const*>(argv.data()), environ) != 0 ||
      ::waitpid(pid, &status, 0) != pid || status != 0)
    return fail(std::string(argv[0]) + " failed");
  return {};
}

Result<std::string> round_trip() {
  WEIR_TRY(netlink::Socket socket, netlink::Socket::open(NETLINK_ROUTE));
  netlink::Batch batch;
  netlink::set_link_up(batch, 1);
  WEIR_CHECK_OK(socket.transact(batch));
  netlink::Batch again;
  netlink::set_link_up(again, 1);  // it is up: the kernel looks and answers
  return timed([&] { return socket.transact(again); });
}

// A transaction that makes one table: what the kernel takes for any.
Result<std::string> smallest() {
  WEIR_TRY(netlink::Socket socket, netlink::Socket::open(NETLINK_NETFILTER));
  netlink::NftTransaction nft("smallest");
  return timed([&] { return socket.transact(nft.commit()); });
}

Result<std::string> rules() {
  return timed([] { return sandbox::install_capture_rules(sandbox::CaptureAddresses::defaults()); });
}

Result<std::string> whole() {
  return timed([]() -> Result<> {
    WEIR_TRY(const sandbox::Capture capture, sandbox::set_up_capture(sandbox::CaptureAddresses::defaults()));
    return {};
  });
}

Result<std::string> print_rules() {
  WEIR_CHECK_OK(sandbox::install_capture_rules(sandbox::CaptureAddresses::defaults()));
  WEIR_CHECK_OK(spawn({"nft", "list", "ruleset"}));
  return "0";
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir;
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv);
  if (arguments.number("print", 0) != 0) {
    in_new_network(print_rules);
    return 0;
  }
  const std::string file = arguments.text("nft", "");
  const std::string only = arguments.text("only", "");
  const std::vector<std::pair<std::string, std::function<Result<std::string>()>>> works = {
      {"round_trip", round_trip},
      {"smallest", smallest},
      {"rules", rules},
      {"capture", whole},
      {"nft", [&file] { return timed([&file] { return spawn({"nft", "-f", file.c_str()}); }); }}};
  std::map<std::string, Samples> samples;
  for (std::uint64_t i = 0; i < arguments.number("total", 50); ++i) {
    for (const auto& [name, work] : works) {
      if ((name != "nft" || !file.empty()) && (only.empty() || only == name)) samples[name].add(in_new_network(work));
    }
  }
  JsonWriter json;
  json.begin_object();
  for (auto& [name, values] : samples) {
    json.key(name).begin_object();
    values.write(json);
    json.end_object();
  }
  print(json.end_object());
}
