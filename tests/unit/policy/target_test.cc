#include "policy/text/target.h"

#include <gtest/gtest.h>

#include "policy/text/broad.h"

namespace weir::policy {
namespace {

struct Valid {
  std::string text;
  const char* canonical;  // of the first target
  const char* protocols;  // of "tui"
};

std::string protocols_of(const Target& target) {
  std::string text;
  if (target.protocols.has(net::Protocol::tcp)) text += 't';
  if (target.protocols.has(net::Protocol::udp)) text += 'u';
  if (target.protocols.has(net::Protocol::icmp)) text += 'i';
  return text;
}

const Valid kValid[] = {
    {"example.com", "example.com", "t"},
    {"EXAMPLE.Com.", "example.com", "t"},
    {"*.example.com", "*.example.com", "t"},
    {".example.com", ".example.com", "t"},
    {"example.com:443", "example.com:443", "t"},
    {"example.com:80,443", "example.com:80,443", "t"},
    {"example.com:443,80", "example.com:80,443", "t"},
    {"example.com:8000-8999", "example.com:8000-8999", "t"},
    {"example.com:1-65535", "example.com:1-65535", "t"},
    {"tcp://example.com", "example.com", "t"},
    {"udp://example.com:53", "udp://example.com:53", "u"},
    {"icmp://example.com", "icmp://example.com", "i"},
    {"_dmarc.example.com", "_dmarc.example.com", "t"},
    {"xn--bcher-kva.example", "xn--bcher-kva.example", "t"},
    {"b\xc3\xbc\x63her.example", "xn--bcher-kva.example", "t"},
    {"B\xc3\x9c\x43HER.example", "xn--bcher-kva.example", "t"},
    {"stra\xc3\x9f\x65.example", "xn--strae-oqa.example", "t"},  // UTS 46 non-transitional: not strasse
    {"\xef\xbd\x81.example", "a.example", "t"},                  // full-width a
    {"example\xe3\x80\x82\x63om", "example.com", "t"},           // ideographic full stop
    {"*.\xd0\xbf\xd1\x80\xd0\xb8\xd0\xbc\xd0\xb5\xd1\x80.example.com", "*.xn--e1afmkfd.example.com", "t"},
    {"192.0.2.7", "192.0.2.7", "tui"},
    {"192.0.2.7:80", "192.0.2.7:80", "tui"},
    {"10.0.0.0/8", "10.0.0.0/8", "tui"},
    {"10.1.2.0/24:5432", "10.1.2.0/24:5432", "tui"},
    {"0.0.0.0/0:443", "0.0.0.0/0:443", "tui"},
    {"2001:db8::1", "2001:db8::1", "tui"},
    {"2001:DB8:0:0::1", "2001:db8::1", "tui"},
    {"[2001:db8::1]", "2001:db8::1", "tui"},
    {"[2001:db8::1]:443", "[2001:db8::1]:443", "tui"},
    {"fd00::/8", "fd00::/8", "tui"},
    {"fd00::/8:443", "[fd00::/8]:443", "tui"},
    {"[fd00::/8]:443", "[fd00::/8]:443", "tui"},
    {"::/0", "::/0", "tui"},
    {"::1", "::1", "tui"},
    {"::ffff:93.184.215.14", "93.184.215.14", "tui"},  // mapped is IPv4
    {"::ffff:5db8:d70e", "93.184.215.14", "tui"},
    {"udp://192.0.2.53:5353", "udp://192.0.2.53:5353", "u"},
    {"icmp://192.0.2.7", "icmp://192.0.2.7", "i"},
    {"tcp://[2001:db8::1]:22", "tcp://[2001:db8::1]:22", "t"},
    {"@private", "@private", "tui"},
    {"@public:80", "@public:80", "tui"},
    {"udp://@public:123", "udp://@public:123", "u"},
    {"@link-local", "@link-local", "tui"},
    {"@lan", "@lan", "tui"},
    {"@host:631", "@host:631", "tui"},
    {"@any", "@any", "tui"},
    {"@pypi", "pypi.org", "t"},
    {"@pypi:443", "pypi.org:443", "t"},
    {"host.weir.internal:8080", "host.weir.internal:8080", "t"},
    {"db.corp.internal:5432", "db.corp.internal:5432", "t"},
    {"db", "db", "t"},
    {"com", "com", "t"},  // that name only: nobody registers it
};

TEST(Target, ValidSpellings) {
  for (const Valid& row : kValid) {
    const auto parsed = parse_target(row.text, {});
    ASSERT_TRUE(parsed) << row.text << ": " << (parsed ? "" : parsed.error().what);
    EXPECT_EQ(canonical_text(parsed->targets.front()), row.canonical) << row.text;
    EXPECT_EQ(protocols_of(parsed->targets.front()), row.protocols) << row.text;
    EXPECT_EQ(parsed->text, row.text);
  }
}

struct Invalid {
  std::string text;
  std::size_t column;
  const char* says;    // part of the message
  const char* remedy;  // part of the remedy
};

const Invalid kInvalid[] = {
    {"", 1, "missing", "example.com"},
    {" example.com", 1, "spaces", ""},
    {"example.com ", 12, "spaces", ""},
    {"exa\tmple.com", 4, "control", ""},
    {std::string("evil.example\0.example.com", 25), 13, "control", ""},
    {"example.com\r\n", 12, "control", ""},
    {"127.1", 1, "number", ""},
    {"0x7f.1", 1, "number", ""},
    {"0x7f000001", 1, "number", ""},
    {"2130706433", 1, "number", ""},
    {"0177.0.0.1", 1, "number", ""},
    {"127.0.0.01", 1, "number", ""},
    {"1.2.3.4.5", 1, "number", ""},
    {"256.0.0.1", 1, "number", ""},
    {"1.2.3", 1, "number", ""},
    {"example.0x7f", 1, "number", ""},
    {"443", 1, "number", ""},
    {"80-90", 1, "number", ""},
    {"-", 1, "number", ""},
    {"8-.", 1, "number", ""},
    {"10.0.0.1/8", 1, "behind the prefix", "10.0.0.0/8"},
    {"10.0.0.0/33", 1, "prefix length", ""},
    {"10.0.0.0/08", 1, "prefix length", ""},
    {"fe80::1%eth0", 8, "zones", ""},
    {"[fe80::1%25eth0]:80", 9, "zones", ""},
    {"::ffff:0:0/96", 1, "prefix length", ""},
    {"allowed%2etest", 8, "percent", ""},
    {"user@example.com", 5, "user part", "example.com"},
    {"example.com:443@evil.example", 16, "user part", "evil.example"},
    {"https://example.com", 1, "URL", "example.com:443"},
    {"http://example.com/x", 1, "URL", "example.com:80"},
    {"tpc://example.com:1", 1, "protocol", "tcp://example.com:1"},
    {"TCP://example.com", 1, "protocol", ""},
    {"ftp://example.com", 1, "protocol", ""},
    {"tcp://", 7, "missing", ""},
    {"example.com/path", 12, "path", "example.com"},
    {"example.com:0", 13, "not a port", ""},
    {"example.com:65536", 13, "not a port", ""},
    {"example.com:", 13, "not a port", ""},
    {"example.com:http", 13, "not a port", ""},
    {"example.com:080", 13, "not a port", ""},
    {"example.com:+80", 13, "not a port", ""},
    {"example.com:80,", 16, "not a port", ""},
    {"example.com:90-80", 13, "backwards", "80-90"},
    {"example.com:80-", 16, "not a port", ""},
    {":443", 1, "missing", ""},
    {"icmp://192.0.2.7:80", 18, "no ports", ""},
    {"udp://example.com", 7, "needs a port", "PORT"},
    {"a..b", 1, "empty label", ""},
    {"..", 2, "empty", ""},
    {".", 2, "empty", ""},
    {"*", 1, "too broad", "broad=*"},
    {"*.com", 1, "too broad", "broad=*.com"},
    {".com", 1, "too broad", "broad=.com"},
    {"*.co.uk", 1, "too broad", "broad=*.co.uk"},
    {"*.github.io", 1, "publish", "broad=*.github.io"},
    {"*.internal", 1, "too broad", "broad=*.internal"},
    {"*.\xd1\x80\xd1\x84", 1, "too broad", "broad=*.xn--p1ai"},
    {"a*.example.com", 2, "whole labels", "*.example.com"},
    {"*.*.example.com", 3, "whole labels", ""},
    {"foo.*.com", 5, "whole labels", ""},
    {"**.example.com", 1, "whole labels", ""},
    {"*example.com", 1, "whole labels", ""},
    {"@pypy", 1, "neither", "@pypi"},
    {"@privat", 1, "neither", "@private"},
    {"@", 1, "neither", "sets"},
    {"@metadata", 1, "hard floor", "insist floor"},
    {"@sandboxes:80", 1, "hard floor", "insist floor"},
    {"@multicast", 1, "hard floor", "insist floor"},
    {"host.weir.internal", 1, "port by port", "host.weir.internal:PORT"},
    {"*.weir.internal:80", 1, "weir's own", ""},
    {"gateway.weir.internal:80", 1, "weir's own", ""},
    {"[192.0.2.1]:80", 2, "IPv6", "192.0.2.1"},
    {"[2001:db8::1", 1, "not closed", ""},
    {"[2001:db8::1]443", 14, "only :PORTS", "]:443"},
    {"[[::1]]:80", 7, "only :PORTS", ""},
    {"[example.com]:80", 2, "IPv6", ""},
    {"2001:db8::1::2", 1, "not an IP", ""},
    {"2001:db8::12345", 1, "not an IP", ""},
    {"1:2:3:4:5:6:7:8:9", 1, "not an IP", ""},
    {"example.com\\@evil.example", 12, "cannot stand", ""},
    {"example.com?x", 12, "cannot stand", ""},
    {"example.com#x", 12, "cannot stand", ""},
    {"exa!mple.com", 1, "letters", ""},
    {std::string(64, 'a') + ".example", 1, "63", ""},
    {std::string("a.") + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(63, 'd') + "." +
         std::string(62, 'e'),
     1, "253", ""},
    {"\xff\xfe.example", 1, "", ""},
    {"xn--\xc3\xbc.example", 1, "", ""},
};

TEST(Target, InvalidSpellings) {
  for (const Invalid& row : kInvalid) {
    const auto parsed = parse_target(row.text, {});
    ASSERT_FALSE(parsed) << row.text;
    EXPECT_EQ(parsed.error().column, row.column) << row.text << ": " << parsed.error().what;
    EXPECT_NE(parsed.error().what.find(row.says), std::string::npos) << row.text << ": " << parsed.error().what;
    EXPECT_NE(parsed.error().remedy.find(row.remedy), std::string::npos) << row.text << ": " << parsed.error().remedy;
  }
}

TEST(Target, LongInputIsRefusedQuickly) {
  EXPECT_FALSE(parse_target(std::string(1 << 20, 'a'), {}));
  std::string ports = "example.com:1";
  for (int i = 0; i < 70; ++i) ports += ",1";
  EXPECT_FALSE(parse_target(ports, {}));
}

TEST(Target, InsistedWildcardsPass) {
  const std::vector<std::string> insisted = {"*.com", "*"};
  EXPECT_TRUE(parse_target("*.com", {.action = Action::allow, .insisted_broad = insisted}));
  EXPECT_TRUE(parse_target("*:443", {.action = Action::allow, .insisted_broad = insisted}));
  EXPECT_FALSE(parse_target(".com", {.action = Action::allow, .insisted_broad = insisted}));
  EXPECT_FALSE(parse_target("*.org", {.action = Action::allow, .insisted_broad = insisted}));
}

TEST(Target, DeniedNamesAreDeniedForEverything) {
  const auto parsed = parse_target("evil.example", {.action = Action::deny, .insisted_broad = {}});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(protocols_of(parsed->targets.front()), "tui");
  EXPECT_TRUE(parse_target("*.com", {.action = Action::deny, .insisted_broad = {}}));
  EXPECT_TRUE(parse_target("@metadata", {.action = Action::deny, .insisted_broad = {}}));
}

TEST(Target, Lists) {
  const struct {
    const char* list;
    std::vector<std::string_view> pieces;
  } rows[] = {
      {"a.example", {"a.example"}},
      {"a.example,b.example", {"a.example", "b.example"}},
      {"a.example:80,443,b.example", {"a.example:80,443", "b.example"}},
      {"a.example:80,8000-8999,443,@pypi", {"a.example:80,8000-8999,443", "@pypi"}},
      {"[2001:db8::1]:80,443,10.0.0.0/8", {"[2001:db8::1]:80,443", "10.0.0.0/8"}},
      {"443", {"443"}},
  };
  for (const auto& row : rows) {
    const auto pieces = split_targets(row.list);
    ASSERT_TRUE(pieces) << row.list;
    EXPECT_EQ(*pieces, row.pieces) << row.list;
  }
  EXPECT_FALSE(split_targets(""));
  EXPECT_EQ(split_targets("a.example,,b.example").error().column, 11u);
  EXPECT_EQ(split_targets("a.example,").error().column, 11u);
  // A number after a target without ports is still glued to it, and is an error there.
  EXPECT_FALSE(parse_target(split_targets("a.example,443")->front(), {}));
}

TEST(Broad, PublicSuffixes) {
  EXPECT_EQ(suffix_kind("com"), SuffixKind::registry);
  EXPECT_EQ(suffix_kind("co.uk"), SuffixKind::registry);
  EXPECT_EQ(suffix_kind("github.io"), SuffixKind::platform);
  EXPECT_EQ(suffix_kind("example.com"), SuffixKind::ordinary);
  EXPECT_EQ(suffix_kind("x.github.io"), SuffixKind::ordinary);
  EXPECT_EQ(suffix_kind("nosuchtld"), SuffixKind::registry);
}

}  // namespace
}  // namespace weir::policy
