// Random policies, random questions: an image, what is read back from it, and flags on top of either say the same.
#include <random>

#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

using Random = std::mt19937;

template <std::size_t N>
std::string one_of(Random& random, const std::array<const char*, N>& words) {
  return words[random() % N];
}

// Few names and addresses, so that entries meet.
constexpr std::array kNames = {"a.example", "b.example", "x.a.example", "y.x.a.example",     "example",
                               "c.test",    "d.c.test",  "pypi.org",    "registry.npmjs.org"};
constexpr std::array kAddresses = {"93.184.215.14", "10.0.0.5", "2606:4700::1", "fd00::7", "169.254.169.254"};
constexpr std::array kTargets = {"10.0.0.0/8", "93.184.0.0/16", "93.184.215.14", "0.0.0.0/0", "fd00::/8",
                                 "@private",   "@lan",          "@public",       "@pypi",     "@npm"};
constexpr std::array kPorts = {"", "", ":443", ":80,443", ":1-100", ":8000-8999,53"};

std::string some_target(Random& random) {
  constexpr std::array kForms = {"", "", ".", "*."};
  if (random() % 3 == 0) {
    const std::string target = one_of(random, kTargets);
    return target.find(':') == std::string::npos ? target + one_of(random, kPorts) : target;
  }
  std::string name = one_of(random, kNames);
  if (name.find('.') != std::string::npos) name = one_of(random, kForms) + name;
  return name + one_of(random, kPorts);
}

std::vector<std::string> some_targets(Random& random, std::size_t most) {
  std::vector<std::string> targets(random() % (most + 1));
  for (std::string& each : targets) each = some_target(random);
  return targets;
}

std::string quoted(const std::vector<std::string>& words) {
  std::string text = "[";
  for (const std::string& word : words) text += (text.size() > 1 ? ", \"" : "\"") + word + "\"";
  return text + "]";
}

std::string some_file(Random& random) {
  constexpr std::array kModes = {"allowlist", "public", "semitrusted"};
  std::string text = "mode = \"" + one_of(random, kModes) + "\"\n";
  if (random() % 4 == 0) text += "require_name = true\n";
  text += "deny = " + quoted(some_targets(random, 3)) + "\nallow = " + quoted(some_targets(random, 4)) + "\n";
  constexpr std::array kLists = {"[\"one\"]", "[\"one\", \"two\"]", "[\"two\", \"one\"]"};
  if (random() % 2 == 0) text += "deny_lists = " + one_of(random, kLists) + "\n";
  if (random() % 3 == 0) text += "[dns]\ntypes = [\"TXT\"]\n";
  if (random() % 3 == 0) text += "[limits]\nmax_flows = 7\n";
  for (std::size_t i = random() % 3; i > 0; --i) {
    const bool allow = random() % 2 == 0;
    text += "[[rules]]\naction = \"" + std::string(allow ? "allow" : "deny") +
            "\"\nto = " + quoted({some_target(random), some_target(random)}) + "\n";
    if (allow && random() % 2 == 0) text += "ech = true\n";
  }
  return text;
}

CompileInput with_lists(CompileInput input) {
  input.read_list = [](const std::string& path) -> Result<std::string> {
    return path.ends_with("one") ? "a.example\n.c.test\n*.b.example\nfree.test\n"
                                 : ".x.a.example\nd.c.test\nb.example\n";
  };
  return input;
}

std::string said(const Image& image, RuleRef rule) {
  return " by " + std::string(name_of(rule.layer)) + " '" + std::string(image.entry_text(rule)) + "'";
}

// Every decision about one destination.
std::string decisions(const Image& image, Random random) {
  const HostFacts facts = lan({"10.0.0.0/24"});
  const std::string asked = one_of(random, kNames);
  const std::string alias = one_of(random, kNames);
  const Names names({random() % 2 == 0 ? asked : asked + "<" + alias, one_of(random, kNames)});
  const net::IpAddress address = ip(one_of(random, kAddresses));
  constexpr std::array<net::Port, 6> kAsked = {443, 80, 53, 22, 8080, 9};
  const Request request{.protocol = random() % 4 == 0 ? net::Protocol::udp : net::Protocol::tcp,
                        .address = address,
                        .port = kAsked[random() % kAsked.size()],
                        .names = names.span().first(random() % 3)};
  FirstFlight flight = random() % 2 == 0 ? tls(asked) : http(alias);
  flight.ech = random() % 4 == 0;
  const Verdict admitted = admit(image, facts, request);
  const Verdict flown = admit_first_flight(image, facts, request, flight);
  const Verdict shown = judge_answer(image, facts, names.span().front(), address);
  const NameVerdict resolved = judge_name(image, name(asked), random() % 3 == 0 ? 16 : 1);
  return word(admitted) + said(image, admitted.rule) + ", " + word(flown) + said(image, flown.rule) + ", " +
         word(shown) + said(image, shown.rule) + ", " + word(resolved) + said(image, resolved.rule);
}

void expect_same(const Image& left, const Image& right, Random& random, const std::string& about) {
  for (int question = 0; question < 40; ++question) {
    const Random same(random());
    const std::string first = decisions(left, same);
    const std::string second = decisions(right, same);
    ASSERT_EQ(first, second) << about;
  }
}

// Under a sanitizer each takes many times as long.
#if __has_feature(address_sanitizer)
constexpr int kRounds = 100;
#else
constexpr int kRounds = 1500;
#endif

TEST(RoundTrip, AnImageAndWhatIsReadBackFromItDecideTheSame) {
  Random random(20);
  int usable = 0;
  for (int round = 0; round < kRounds; ++round) {
    const CompileInput written = with_lists(file(some_file(random)));
    const auto compiled = compile_policy(written);
    if (!compiled) continue;  // contradicts itself: no policy
    ++usable;
    const std::string& text = written.session.file->text;
    const auto image = Image::open(compiled->image);
    ASSERT_TRUE(image) << text;
    const auto source = read_back(*image, "p");
    ASSERT_TRUE(source) << text;
    const std::vector<std::uint8_t> again = *build_image(*source);
    ASSERT_EQ(again, compiled->image) << text;
    const auto reopened = Image::open(again);
    ASSERT_TRUE(reopened);
    expect_same(*image, *reopened, random, text);

    CompileInput file_and_flags = written;
    file_and_flags.session.allow = some_targets(random, 2);
    file_and_flags.session.deny = some_targets(random, 2);
    if (random() % 3 == 0) file_and_flags.session.deny_lists = {"/two"};
    CompileInput image_and_flags = file_and_flags;
    image_and_flags.session.file.reset();
    image_and_flags.session.compiled = CompiledFile{.name = "p.image", .bytes = compiled->image};
    const auto left = compile_policy(file_and_flags);
    const auto right = compile_policy(image_and_flags);
    ASSERT_EQ(left.has_value(), right.has_value()) << text << (left ? right : left).error().what();
    if (left) expect_same(*Image::open(left->image), *Image::open(right->image), random, text);
  }
  EXPECT_GT(usable, kRounds * 2 / 3);
}

}  // namespace
}  // namespace weir::policy::testing
