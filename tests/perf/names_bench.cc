// Names by the million: what building, loading and deciding cost. Prints one JSON object.
//
//   names_bench [DENY [ALLOW [SECONDS-FREE-FOLDER]]]     default 1000000 100000 /tmp
//
// The names are made up here: 2 to 4 labels of random lengths, as real ones have. Deny names come from a list file,
// allow names from a policy file. Questions are in random order, half of them about names that nobody listed, so every
// one meets memory that is not in a cache.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "policy/compiled/admit.h"
#include "policy/compiled/layer_view.h"
#include "policy/text/compile.h"
#include "sys/files.h"
#include "sys/memory_file.h"

namespace {

using namespace weir;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Names {
 public:
  explicit Names(std::uint64_t seed) : random_(seed) {}

  std::string next() {
    constexpr std::array<const char*, 8> kTops = {"com", "net", "org", "de", "co.uk", "io", "info", "xyz"};
    std::string name;
    if (pick(10) < 4) name = label(2, 6) + ".";
    return name + label(5, 14) + "." + kTops[pick(kTops.size())];
  }
  std::size_t pick(std::size_t below) { return static_cast<std::size_t>(random_() % below); }

 private:
  std::string label(std::size_t least, std::size_t most) {
    std::string text(least + pick(most - least + 1), 'a');
    for (char& c : text) c = static_cast<char>('a' + pick(26));
    return text;
  }
  std::mt19937_64 random_;
};

struct Times {
  double p50 = 0;
  double p99 = 0;
};

// The cost of reading the clock is taken off.
template <class Ask>
Times time_each(const std::vector<net::DomainName>& names, Ask ask) {
  std::vector<double> clock;
  std::vector<double> all;
  all.reserve(names.size());
  for (const net::DomainName& name : names) {
    const auto start = Clock::now();
    ask(name);
    const auto middle = Clock::now();
    const auto end = Clock::now();
    all.push_back(std::chrono::duration<double, std::nano>(middle - start).count());
    clock.push_back(std::chrono::duration<double, std::nano>(end - middle).count());
  }
  const auto at = [](std::vector<double>& values, double share) {
    const auto nth = values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
    std::ranges::nth_element(values, nth);
    return *nth;
  };
  const double overhead = at(clock, 0.5);
  return {.p50 = at(all, 0.5) - overhead, .p99 = at(all, 0.99) - overhead};
}

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "names_bench: %s\n", error.what().c_str());
  std::exit(1);
}
template <class T>
T must(Result<T> result) {
  if (!result) give_up(result.error());
  return std::move(*result);
}

struct Workload {
  std::string list;
  std::string policy;
  std::vector<net::DomainName> denied;
  std::vector<net::DomainName> allowed;
  std::vector<net::DomainName> unknown;
};

Workload make(std::size_t deny, std::size_t allow) {
  Names names(1);
  Workload work;
  constexpr std::size_t kQuestions = 200'000;
  const auto keep = [&](std::vector<net::DomainName>& sample, const std::string& name, std::size_t of) {
    if (names.pick(of) < kQuestions) sample.push_back(must(net::DomainName::parse(name)));
  };
  for (std::size_t i = 0; i < deny; ++i) {
    const std::string name = names.next();
    work.list += name + "\n";
    keep(work.denied, name, deny);
  }
  work.policy = "version = 1\nmode = \"public\"\ndeny_lists = [\"/list\"]\nallow = [\n";
  for (std::size_t i = 0; i < allow; ++i) {
    const std::string name = names.next();
    work.policy += "\"" + name + "\",\n";
    keep(work.allowed, name, allow);
  }
  work.policy += "]\n";
  for (std::size_t i = 0; i < kQuestions; ++i) work.unknown.push_back(must(net::DomainName::parse(names.next())));
  std::mt19937_64 random(2);
  for (auto* sample : {&work.denied, &work.allowed, &work.unknown}) std::ranges::shuffle(*sample, random);
  return work;
}

policy::CompileInput input_of(const Workload& work) {
  policy::CompileInput input;
  input.session.file = policy::TextFile{.name = "/bench.toml", .text = work.policy};
  input.read_list = [&work](const std::string&) -> Result<std::string> { return work.list; };
  return input;
}

// What `weir run --policy IMAGE` does before anything starts; the best of several, in milliseconds.
double load_ms(const std::string& path, double& with_floor_ms) {
  double best = 1e9;
  for (int round = 0; round < 14; ++round) {
    const auto start = Clock::now();
    const sys::OwnedFd memory = must(sys::copy_to_memory(path, "bench", std::size_t{1} << 30));
    const sys::Mapping mapping = must(sys::Mapping::of(memory));
    policy::CompileInput input;
    if (round % 2 != 0)
      input.floor = policy::TextFile{.name = "floor", .text = "version = 1\ndeny = [\"a.example\"]\n"};
    input.session.compiled = policy::CompiledFile{.name = path, .bytes = mapping.bytes()};
    input.purpose = policy::CompileInput::Purpose::running;
    const policy::Compiled compiled = must(policy::compile_policy(input));
    static_cast<void>(must([&]() -> Result<int> {
      WEIR_CHECK_OK(sys::append(memory, compiled.patch->tail));
      WEIR_CHECK_OK(sys::overwrite(memory, 0, compiled.patch->head));
      WEIR_CHECK_OK(sys::seal(memory));
      return 0;
    }()));
    const sys::Mapping sealed = must(sys::Mapping::of(memory));
    static_cast<void>(must(policy::Image::open(sealed.bytes())));
    const double ms = seconds_since(start) * 1000;
    double& kept = round % 2 != 0 ? with_floor_ms : best;
    kept = std::min(kept, ms);
  }
  return best;
}

double small_policy_us() {
  policy::CompileInput input;
  input.session.allow = {"example.com"};
  constexpr int kRounds = 20'000;
  const auto start = Clock::now();
  for (int i = 0; i < kRounds; ++i) static_cast<void>(must(policy::compile_policy(input)));
  return seconds_since(start) * 1e6 / kRounds;
}

std::vector<net::DomainName> half_misses(const std::vector<net::DomainName>& hits, const Workload& work) {
  std::vector<net::DomainName> mixed;
  const std::size_t half = std::min(hits.size(), work.unknown.size());
  for (std::size_t i = 0; i < half; ++i) {
    mixed.push_back(hits[i]);
    mixed.push_back(work.unknown[i]);
  }
  return mixed;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t deny = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1'000'000;
  const std::size_t allow = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 100'000;
  const std::string folder = argc > 3 ? argv[3] : "/tmp";
  const double small_us = small_policy_us();
  const Workload work = make(deny, allow);

  const policy::CompileInput input = input_of(work);
  const auto start = Clock::now();
  const policy::Compiled compiled = must(policy::compile_policy(input));
  const double build_s = seconds_since(start);
  const std::string path = folder + "/names_bench." + std::to_string(::getpid()) + ".image";
  must([&]() -> Result<int> {
    WEIR_CHECK_OK(sys::replace_file(path, compiled.image));
    return 0;
  }());
  double with_floor = 1e9;
  const double load = load_ms(path, with_floor);
  ::unlink(path.c_str());

  const auto open_start = Clock::now();
  const policy::Image image = must(policy::Image::open(compiled.image));
  const double open_ms = seconds_since(open_start) * 1000;
  Workload no_list = work;
  no_list.list = "x.example\n";
  const std::size_t exact_bytes = must(policy::compile_policy(input_of(no_list))).image.size();
  const double listed_bytes = static_cast<double>(compiled.image.size() - exact_bytes);

  const policy::HostFacts facts;
  const net::IpAddress address = net::IpAddress::v4({93, 184, 215, 14});
  std::size_t refused = 0;
  const auto resolve = [&](const net::DomainName& name) {
    refused += policy::judge_name(image, name, 1).answer != policy::NameAnswer::ask;
  };
  const auto connect = [&](const net::DomainName& name) {
    const policy::NameCandidate candidate{.name = &name, .aliases = {}};
    refused +=
        !policy::admit(
             image, facts,
             {.protocol = net::Protocol::tcp, .address = address, .port = 443, .names = std::span(&candidate, 1)})
             .allowed;
  };
  std::printf("{\"deny_names\": %zu, \"allow_names\": %zu, \"small_policy_us\": %.2f, \"build_s\": %.3f,\n", deny,
              allow, small_us, build_s);
  std::printf(" \"image_bytes\": %zu, \"bytes_per_deny_name\": %.2f, \"bytes_per_allow_name\": %.2f,\n",
              compiled.image.size(), listed_bytes / static_cast<double>(deny),
              static_cast<double>(exact_bytes) / static_cast<double>(allow));
  std::printf(" \"open_ms\": %.2f, \"load_ms\": %.2f, \"load_with_floor_ms\": %.2f,\n", open_ms, load, with_floor);
  struct Row {
    const char* name;
    std::vector<net::DomainName> questions;
  };
  const Row rows[] = {{"deny_half_misses", half_misses(work.denied, work)},
                      {"allow_half_misses", half_misses(work.allowed, work)},
                      {"deny_hits", work.denied},
                      {"allow_hits", work.allowed},
                      {"misses", work.unknown}};
  for (const Row& row : rows) {
    const Times name = time_each(row.questions, resolve);
    const Times connection = time_each(row.questions, connect);
    std::printf(
        " \"%s\": {\"name_ns_p50\": %.0f, \"name_ns_p99\": %.0f, \"connect_ns_p50\": %.0f, "
        "\"connect_ns_p99\": %.0f},\n",
        row.name, name.p50, name.p99, connection.p50, connection.p99);
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf(" \"refused\": %zu, \"max_rss_kib\": %ld}\n", refused, usage.ru_maxrss);
  return 0;
}
