// names_cost IMAGE [list=1000000] [suffix=listed.test] [total=200000]
//
// Opens a compiled policy as weir does (mmap, full check) and asks it for names: random ones of the first `list` names
// "xHEX.SUFFIX" that `names_cost write=N suffix=S` prints, every second one a miss. The image and the names asked are
// larger than any cache: each decision pays for its memory.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "policy/compiled/admit.h"
#include "policy/compiled/image.h"
#include "tool.h"

namespace weir::bench {
namespace {

// Numbers that follow each other give names that do not.
std::uint64_t mixed(std::uint64_t value) {  // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

std::string name_of(std::uint64_t number, const std::string& suffix) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "x%012llx.", static_cast<unsigned long long>(mixed(number) >> 16));
  return text.data() + suffix;
}

void write_names(std::uint64_t count, const std::string& suffix) {
  for (std::uint64_t i = 0; i < count; ++i) std::printf("%s\n", name_of(i, suffix).c_str());
}

Bytes mapped(const std::string& path) {
  const sys::OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status{};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) die_errno("cannot open " + path);
  const auto size = static_cast<std::size_t>(status.st_size);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (memory == MAP_FAILED) die_errno("cannot map " + path);
  return {static_cast<const std::uint8_t*>(memory), size};
}

struct Decisions {
  Samples latency;
  std::uint64_t asked_upstream = 0;
};

Decisions decide(const policy::Image& image, std::uint64_t list, const std::string& suffix, std::uint64_t total) {
  constexpr std::uint16_t kTypeA = 1;
  std::vector<net::DomainName> names;
  names.reserve(total);
  for (std::uint64_t i = 0; i < total; ++i) {
    // A miss looks like a hit: the same shape, a number that is not on the list.
    const std::uint64_t number = mixed(i ^ 0x5eed) % list + (i % 2 == 0 ? 0 : list);
    names.push_back(or_die(net::DomainName::parse(name_of(number, suffix))));
  }
  Decisions out;
  out.latency.reserve(total);
  for (const net::DomainName& name : names) {
    const std::uint64_t began = now_ns();
    const policy::NameVerdict verdict = policy::judge_name(image, name, kTypeA);
    out.latency.add(now_ns() - began);
    if (verdict.answer == policy::NameAnswer::ask) ++out.asked_upstream;
  }
  return out;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir;
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv);
  const std::string suffix = arguments.text("suffix", "listed.test");
  if (const std::uint64_t count = arguments.number("write", 0); count != 0) {
    write_names(count, suffix);
    return 0;
  }
  if (arguments.words.size() != 1) die("usage: names_cost IMAGE [list=N] [suffix=NAME] [total=N] | names_cost write=N");
  const std::uint64_t began = now_ns();
  const Bytes bytes = mapped(arguments.words[0]);
  const policy::Image image = or_die(policy::Image::open(bytes));
  const std::uint64_t opened = now_ns();
  Decisions decisions = decide(image, arguments.number("list", 1'000'000), suffix, arguments.number("total", 200'000));
  JsonWriter json;
  json.begin_object()
      .field("open_ns", opened - began)
      .field("bytes", std::uint64_t{bytes.size()})
      .field("asked_upstream", decisions.asked_upstream);
  decisions.latency.write(json);
  print(json.end_object());
}
