// Imported lists and compiled policies.
#include "policy/text/name_list.h"

#include "policy/text/explain.h"
#include "policy/text/show.h"
#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

CompileInput with_list(std::string list, std::string spec = "ads.txt") {
  CompileInput input = flags("public", {});
  input.session.deny_lists = {std::move(spec)};
  input.read_list = [list = std::move(list)](const std::string&) -> Result<std::string> { return list; };
  return input;
}

std::vector<std::uint8_t> image_of(const CompileInput& input) {
  const auto compiled = compile_policy(input);
  EXPECT_TRUE(compiled) << (compiled ? "" : compiled.error().what());
  return compiled ? compiled->image : std::vector<std::uint8_t>();
}

struct ListRow {
  const char* list;
  const char* name;
  bool denied;
};

TEST(NameList, WhatALineDenies) {
  const ListRow rows[] = {
      {"a.example\n", "a.example", true},
      {"a.example\n", "x.a.example", false},
      {"*.a.example # why\n", "x.a.example", true},
      {"*.a.example\n", "a.example", false},
      {".a.example", "a.example", true},
      {"\xef\xbb\xbf# c\r\nA.Example.\r\n", "a.example", true},
      {"b\xc3\xbc"
       "cher.example\n",
       "xn--bcher-kva.example", true},
      {"com\n", "a.com", false},
      {"127.0.0.1 localhost\n0.0.0.0 a.example b.example #x\n", "b.example", true},
      {"0.0.0.0 a.example\n", "x.a.example", false},
      {"255.255.255.255 broadcasthost\n:: a.example\n", "a.example", true},
      {"! t\n||a.example^\n", "x.y.a.example", true},
      {"[Adblock Plus]\n||a.example^$important\n", "a.example", true},
      {"||com^\n", "a.com", true},
      {"! t\n0.0.0.0 a.example\n", "a.example", true},
      {"$TTL 60\n@ IN SOA a. b. (\n1 2\n3 )\n NS x.\na.example CNAME .\n", "a.example", true},
      {"$TTL 60\n@ SOA ( a. b. ; c)\n 1 2 3\n 4 5) ; (\na.example CNAME .\n", "a.example", true},
      {"; z\nz. SOA a. b. 1 2 3 4 5\na.example.z. CNAME .\nz. SOA a. b. 1 2 3 4 5\n", "a.example", true},
      {"; z\n*.a.example 60 IN CNAME .\n", "x.a.example", true},
      {"$ORIGIN rpz.test.\n@ SOA a. b. 1 2 3 4 5\n*.a.example 60 IN CNAME .\n", "x.a.example", true},
      {"$ORIGIN rpz.test.\n@ SOA a. b. 1 2 3 4 5\n*.a.example CNAME .\n", "a.example", false},
      {"$ORIGIN rpz.test.\n@ SOA a. b. 1 2 3 4 5\na.example.rpz.test. CNAME *. ; c\n", "a.example", true},
      {"$ORIGIN z.\n@ SOA a. b. 1 2 3 4 5\n$ORIGIN example.z.\na CNAME .\n", "a.example", true},
  };
  for (const ListRow& row : rows) {
    const Policy made = policy(with_list(row.list));
    const std::string answer = ask_name(made, row.name);
    EXPECT_EQ(answer.ends_with("denied-by-rule"), row.denied) << row.list << " " << row.name << ": " << answer;
    const Verdict verdict = ask(made, "tcp://93.184.215.14:443", {row.name});
    EXPECT_EQ(word(verdict) == "denied-by-rule", row.denied) << row.list << " " << row.name;
    EXPECT_EQ(ask_name(made, "other.test"), "ask") << row.list;
  }
}

TEST(NameList, InvalidLinesAreCountedAndNumbered) {
  const char* const invalid[] = {"a b c\n",
                                 "1.2.3.4\n",
                                 "a..b\n",
                                 "hosts:192.0.2.1 nas.home\n",
                                 "||a^\n@@||b.test^\n",
                                 "||a.test^$app=x\n",
                                 "||ads*.test^\n",
                                 "! x\n/ads/\n",
                                 "$ORIGIN z.\na A 1.2.3.4\n",
                                 "; x\na.example.z. CNAME .\n",
                                 "$ORIGIN com.\na CNAME .\n",
                                 "; z\n@ SOA a. b. (1 2 3 4 5\n",
                                 "; z\n@ SOA a. b. 1 2 3 4 5 6\n",
                                 "; z\n@ SOA a. b. 1 2 3 4 5\n@ NS a. (\n",
                                 "$ORIGIN z.\n@ SOA a. b. 1 2 3 4 5\ny.z. SOA a. b. 1 2 3 4 5\n",
                                 "a.test\n*\n",
                                 "$TTL 1\na CNAME rpz-passthru.\n",
                                 "; z\n8.1.0.0.127.rpz-ip CNAME .\n"};
  for (const std::string text : invalid) {
    const bool hosts = text.starts_with("hosts:");
    ListedNames names;
    EXPECT_EQ(
        read_list(hosts ? text.substr(6) : text, hosts ? ListFormat::hosts : ListFormat::automatic, names).invalid, 1u)
        << text;
  }
  std::string many = "good.example\n";
  for (int i = 0; i < 30; ++i) many += "a b\n";
  many += std::string(1 << 20, 'x') + "\n" + std::string("n\0l\n", 4);
  const auto refused = compile_policy(with_list(many));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what().find("32 of 33 lines deny no name: line 2, 'a b': more than one word; lines 3, 4"),
            std::string::npos)
      << refused.error().what();
  EXPECT_NE(refused.error().what().find("and 22 more"), std::string::npos);
  EXPECT_NE(refused.error().remedy().find("--skip-invalid"), std::string::npos);
  CompileInput skipping = with_list(many);
  skipping.invalid_lines = InvalidLines::skipped;
  const auto skipped = compile_policy(skipping);
  ASSERT_TRUE(skipped);
  EXPECT_NE(skipped->notices.at(0).find("32 of 33"), std::string::npos);
}

// A parenthesis that is not closed, or not meant, takes no denial with it: the line is invalid, those below it hold.
TEST(NameList, ParenthesesInAZoneHideNoDenial) {
  const std::string soa = "$TTL 60\n@ SOA a. b. 1 2 3 4 5\n";
  const std::string zones[] = {soa + "a TXT \"see (internal\"\n",
                               soa + "@ NS ns.x. (\n",
                               soa + "@ NS ( ns.x.\n",
                               soa + "a CNAME (\n",
                               soa + "a ( CNAME .\n",
                               "; z\n@ SOA a. b. (1 2 3 4 5\nlost.example CNAME .\n",
                               "; z\n@ SOA (\nlost.example CNAME .\n"};
  for (const std::string& zone : zones) {
    ListedNames names;
    EXPECT_EQ(read_list(zone + "evil.example CNAME .\n", ListFormat::rpz, names).invalid, 1u) << zone;
    CompileInput skipping = with_list(zone + "evil.example CNAME .\n", "rpz:z");
    skipping.invalid_lines = InvalidLines::skipped;
    const std::string answer = ask_name(policy(skipping), "evil.example");
    EXPECT_TRUE(answer.ends_with("denied-by-rule")) << zone << answer;
  }
}

TEST(NameList, AListThatNamesNothingIsRefused) {
  EXPECT_FALSE(compile_policy(with_list("")));
  EXPECT_FALSE(compile_policy(with_list("# nothing\n127.0.0.1 localhost\n")));
  EXPECT_TRUE(compile_policy(with_list("# something\n127.0.0.1 localhost\n0.0.0.0 a.example\n")));
}

TEST(NameList, TheRuleIsTheList) {
  const CompileInput input = with_list("||a.example^\n||a.example^\n", "adguard:lists/ads.txt");
  const Policy made = policy(input);
  const Verdict verdict = ask(made, "tcp://93.184.215.14:443", {"x.a.example"});
  EXPECT_EQ(made.image->entry_text(verdict.rule), "list lists/ads.txt");
  EXPECT_NE(show_text(made.compiled).find("deny list lists/ads.txt: 1 name\n"), std::string::npos);
  const auto request = parse_explain_request("x.a.example:443");
  const std::string said = explanation_text(explain(*made.image, {}, *request));
  EXPECT_NE(said.find("the list has a.example"), std::string::npos) << said;
}

TEST(CompiledPolicy, SaysWhatItsSourceSaid) {
  CompileInput input = flags("", {"*.a.example:80,443", "10.0.0.0/8", "@lan", "*.com"}, {"b.example"},
                             {"broad=*.com", "floor=169.254.169.254"});
  input.session.deny_lists = {"x"};
  input.read_list = [](const std::string&) -> Result<std::string> { return "d.com\n*.e.com\n"; };
  const auto compiled = compile_policy(input);
  ASSERT_TRUE(compiled);
  const auto image = Image::open(compiled->image);
  ASSERT_TRUE(image);
  EXPECT_TRUE(image->check_sums());
  CompileInput again;
  again.session.compiled = CompiledFile{.name = "p.image", .bytes = compiled->image};
  again.purpose = CompileInput::Purpose::running;
  const auto running = compile_policy(again);
  ASSERT_TRUE(running) << running.error().what();
  EXPECT_EQ(running->notices, compiled->notices);
  EXPECT_EQ(running->hash, compiled->hash);
  again.purpose = CompileInput::Purpose::reading;
  EXPECT_EQ(image_of(again), compiled->image);
  const auto source = read_back(*image, "p");
  ASSERT_TRUE(source);
  EXPECT_EQ(*build_image(*source), compiled->image);
}

TEST(CompiledPolicy, TargetsOfAnEntryAreASet) {
  ImageSource source;
  LayerSource layer;
  layer.mode = Mode::allowlist;
  Entry entry{.action = Action::allow, .step = Step::allow, .text = "@set", .place = {}, .targets = {}};
  for (const char* text : {"b.example:8080,80", "a.b.example", "10.0.0.0/8:22", "fd00::/8", "@lan", "b.example:53",
                           "c.example:1-9", "udp://b.example:80"}) {
    entry.targets.push_back(parse_target(text, {.action = Action::allow, .insisted_broad = {}})->targets.front());
  }
  layer.entries = {entry};
  source.layers = {layer};
  const std::vector<std::uint8_t> bytes = *build_image(source);
  std::ranges::reverse(source.layers[0].entries[0].targets);
  EXPECT_EQ(*build_image(source), bytes);
  const auto back = read_back(*Image::open(bytes), "p");
  ASSERT_TRUE(back);
  EXPECT_EQ(*build_image(*back), bytes);
}

TEST(CompiledPolicy, TheFloorAndFlagsComeOnTop) {
  const std::vector<std::uint8_t> session = image_of(with_list("listed.example\n"));
  CompileInput input = with_floor({}, "deny = [\"floored.example\"]\nself_addresses = [\"203.0.113.1\"]");
  input.session.compiled = CompiledFile{.name = "p.image", .bytes = session};
  input.purpose = CompileInput::Purpose::running;
  const auto grafted = compile_policy(input);
  ASSERT_TRUE(grafted && grafted->patch);
  const std::vector<std::uint8_t> bytes = patched(session, *grafted->patch);
  const auto image = Image::open(bytes);
  ASSERT_TRUE(image) << image.error().what();
  EXPECT_TRUE(image->check_sums());
  EXPECT_EQ(image->hash(), grafted->hash);
  const auto asked = [](const Image& of, const char* what) { return word(judge_name(of, name(what), 1)); };
  EXPECT_EQ(asked(*image, "floored.example"), "nodata denied-by-rule");
  EXPECT_EQ(asked(*image, "listed.example"), "nodata denied-by-rule");
  EXPECT_EQ(asked(*image, "free.example"), "ask");
  EXPECT_EQ(image->self_addresses().size(), 1u);

  input.session.deny = {"flagged.example"};
  const Policy flagged = policy(input);
  EXPECT_EQ(ask_name(flagged, "flagged.example"), "nodata denied-by-rule");
  EXPECT_EQ(ask_name(flagged, "floored.example"), "nodata denied-by-rule");
  EXPECT_EQ(ask_name(flagged, "listed.example"), "nodata denied-by-rule");
  EXPECT_EQ(ask_name(flagged, "free.example"), "ask");
}

TEST(CompiledPolicy, WhatWasChangedOrBringsAFloorIsRefused) {
  const std::vector<std::uint8_t> good = image_of(with_list("listed.example\n"));
  const auto opens = [](const std::vector<std::uint8_t>& bytes) {
    CompileInput input;
    input.session.compiled = CompiledFile{.name = "p.image", .bytes = bytes};
    return compile_policy(input).has_value();
  };
  EXPECT_TRUE(opens(good));
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::vector<std::uint8_t> damaged = good;
    damaged[at] ^= 0x10;
    // What is in no section is padding: nobody reads it.
    if (opens(damaged)) EXPECT_EQ(damaged[at], 0x10) << at;
  }
  EXPECT_FALSE(opens(image_of(with_floor(with_list("listed.example\n"), "deny = [\"a.example\"]"))));
}

}  // namespace
}  // namespace weir::policy::testing
