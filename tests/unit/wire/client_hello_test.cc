#include "wire/client_hello.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "wire_test_bytes.h"

namespace weir::wire {
namespace {

using State = ClientHelloReader::State;
using namespace std::string_literals;

std::string u16(std::size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}
std::string vector16(const std::string& body) {
  return u16(body.size()) + body;
}
std::string extension(unsigned type, const std::string& body) {
  return u16(type) + vector16(body);
}
std::string name_entry(const std::string& name, char type = 0) {
  return std::string(1, type) + vector16(name);
}
std::string server_name(const std::string& entries) {
  return extension(0, vector16(entries));
}

struct Hello {
  std::string version = "\3\3";
  std::string session = "\0"s;
  std::string suites = vector16("\x13\1"s);
  std::string compressions = "\1\0"s;
  std::string tail;  // the extensions with their length, or nothing

  std::string message() const {
    const std::string body = version + std::string(32, 'r') + session + suites + compressions + tail;
    return "\1"s + std::string(1, static_cast<char>(body.size() >> 16)) + u16(body.size() & 0xffff) + body;
  }
};

std::string hello_with(const std::string& extensions) {
  Hello hello;
  hello.tail = vector16(extensions);
  return hello.message();
}

std::string record(const std::string& fragment, char type = 22, const std::string& version = "\3\1") {
  return std::string(1, type) + version + vector16(fragment);
}

std::string in_records_of(std::size_t size, const std::string& message) {
  std::string stream;
  for (std::size_t at = 0; at < message.size(); at += size) stream += record(message.substr(at, size));
  return stream;
}

State read_all(const std::string& stream, ClientHello* hello = nullptr) {
  ClientHelloReader reader;
  const State state = reader.feed(exact_copy(as_bytes(stream))->bytes());
  if (hello != nullptr) *hello = reader.hello();
  return state;
}

// Feeding a byte at a time must come to the same end.
State read_slowly(const std::string& stream, ClientHello* hello = nullptr) {
  ClientHelloReader reader;
  for (const char byte : stream) {
    if (reader.feed(as_bytes(std::string_view(&byte, 1))) != State::need_more) break;
  }
  if (hello != nullptr) *hello = reader.hello();
  return reader.state();
}

const std::string kPlain = hello_with(extension(10, "groups") + server_name(name_entry("Www.Example.COM")));

TEST(ClientHello, NamesTheServer) {
  ClientHello hello;
  ASSERT_EQ(read_all(record(kPlain), &hello), State::complete);
  EXPECT_EQ(hello.sni, Sni::host_name);
  EXPECT_EQ(hello.name->text(), "www.example.com");
  EXPECT_FALSE(hello.has_ech);
}

// The seeds of the fuzzer were recorded from OpenSSL; their first byte is the fuzzer's.
std::string recorded(const std::string& seed) {
  std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/fuzz/corpus/client_hello_fuzz/" + seed, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  return bytes.empty() ? bytes : bytes.substr(1);
}

TEST(ClientHello, ReadsThoseOfOpenssl) {
  const struct {
    const char* seed;
    State state;
    Sni sni;
    const char* name;
    bool has_ech;
  } rows[] = {
      {"tls13", State::complete, Sni::host_name, "www.example.com", false},
      {"tls12", State::complete, Sni::host_name, "a.example", false},
      {"split7", State::complete, Sni::host_name, "www.example.com", false},
      {"split100", State::complete, Sni::host_name, "www.example.com", false},
      {"ech", State::complete, Sni::host_name, "www.example.com", true},
      {"two_names", State::complete, Sni::several, nullptr, false},
      {"go_version", State::malformed, Sni::absent, nullptr, false},
  };
  for (const auto& row : rows) {
    ClientHello hello;
    EXPECT_EQ(read_slowly(recorded(row.seed), &hello), row.state) << row.seed;
    EXPECT_EQ(hello.sni, row.sni) << row.seed;
    EXPECT_EQ(hello.name ? hello.name->text() : "", row.name != nullptr ? row.name : "") << row.seed;
    EXPECT_EQ(hello.has_ech, row.has_ech) << row.seed;
  }
}

TEST(ClientHello, MayBeSplitInAnyWay) {
  const std::string large = hello_with(extension(21, std::string(20000, 'p')) + server_name(name_entry("a.example")));
  for (const std::string& message : {kPlain, large}) {
    for (const std::size_t size : {1u, 2u, 3u, 4u, 5u, 7u, 64u, 16384u}) {
      if (message.size() * (size + 5) / size > ClientHelloReader::kMaxStream) continue;
      ClientHello whole, slow;
      EXPECT_EQ(read_all(in_records_of(size, message), &whole), State::complete) << size;
      EXPECT_EQ(read_slowly(in_records_of(size, message), &slow), State::complete) << size;
      EXPECT_EQ(whole.sni, Sni::host_name);
      EXPECT_EQ(slow.name, whole.name);
    }
  }
}

TEST(ClientHello, IsIncompleteAtEveryShorterLength) {
  const std::string stream = in_records_of(11, kPlain);
  for (std::size_t size = 0; size < stream.size(); ++size) {
    ASSERT_EQ(read_all(stream.substr(0, size)), State::need_more) << size;
  }
}

TEST(ClientHello, StaysComplete) {
  ClientHelloReader reader;
  EXPECT_EQ(reader.feed(as_bytes(record(kPlain) + "early data")), State::complete);
  EXPECT_EQ(reader.feed(as_bytes("anything")), State::complete);
  EXPECT_EQ(reader.hello().name->text(), "www.example.com");
}

TEST(ClientHello, KnowsWhatIsNotOneHostName) {
  struct Row {
    const char* why;
    std::string extensions;
    Sni sni;
  };
  const std::string a = name_entry("a.example");
  const Row rows[] = {
      {"no server_name", extension(10, "x"), Sni::absent},
      {"two entries", server_name(a + name_entry("b.example")), Sni::several},
      {"the same twice", server_name(a + a), Sni::several},
      {"another type behind", server_name(a + name_entry("x", 1)), Sni::several},
      {"another type before", server_name(name_entry("x", 1) + a), Sni::several},
      {"two extensions", server_name(a) + server_name(name_entry("b.example")), Sni::several},
      {"another type alone", server_name(name_entry("a.example", 1)), Sni::not_host_name},
      {"empty name", server_name(name_entry("")), Sni::not_host_name},
      {"IPv4", server_name(name_entry("10.0.0.1")), Sni::not_host_name},
      {"IPv6", server_name(name_entry("::1")), Sni::not_host_name},
      {"bracketed", server_name(name_entry("[::1]")), Sni::not_host_name},
      {"a number", server_name(name_entry("2130706433")), Sni::not_host_name},
      {"trailing dot", server_name(name_entry("a.example.")), Sni::not_host_name},
      {"NUL", server_name(name_entry("evil.example\0.a.example"s)), Sni::not_host_name},
      {"space", server_name(name_entry("a.example ")), Sni::not_host_name},
      {"port", server_name(name_entry("a.example:443")), Sni::not_host_name},
      {"UTF-8", server_name(name_entry("b\xc3\xbc.example")), Sni::not_host_name},
      {"too long", server_name(name_entry(std::string(300, 'a'))), Sni::not_host_name},
  };
  for (const Row& row : rows) {
    ClientHello hello;
    ASSERT_EQ(read_all(record(hello_with(row.extensions)), &hello), State::complete) << row.why;
    EXPECT_EQ(hello.sni, row.sni) << row.why;
    EXPECT_FALSE(hello.name.has_value()) << row.why;
  }
  ClientHello hello;
  ASSERT_EQ(read_all(record(Hello{}.message()), &hello), State::complete) << "no extensions at all";
  EXPECT_EQ(hello.sni, Sni::absent);
}

TEST(ClientHello, SeesEncryptedClientHello) {
  for (const unsigned type : {0xfe0du, 0xfe08u, 0xffceu}) {
    ClientHello hello;
    ASSERT_EQ(read_all(record(hello_with(server_name(name_entry("a.example")) + extension(type, "x"))), &hello),
              State::complete);
    EXPECT_TRUE(hello.has_ech);
    EXPECT_EQ(hello.sni, Sni::host_name);
  }
}

TEST(ClientHello, BrokenOnesAreMalformed) {
  const auto hello = [](const std::function<void(Hello&)>& change) {
    Hello changed;
    changed.tail = vector16(server_name(name_entry("a.example")));
    change(changed);
    return record(changed.message());
  };
  struct Row {
    const char* why;
    std::string stream;
  };
  std::string long_body = kPlain;
  long_body[1] = 2;
  const Row rows[] = {
      {"version 2", hello([](Hello& h) { h.version = "\2\0"s; })},
      {"session id of 33", hello([](Hello& h) { h.session = "\x21" + std::string(33, 's'); })},
      {"no suites", hello([](Hello& h) { h.suites = vector16(""); })},
      {"half a suite", hello([](Hello& h) { h.suites = vector16("abc"); })},
      {"no compression", hello([](Hello& h) { h.compressions = "\0"s; })},
      {"bytes behind the extensions", hello([](Hello& h) { h.tail += "x"; })},
      {"extensions cut short", hello([](Hello& h) { h.tail.pop_back(); })},
      {"half a length", hello([](Hello& h) { h.tail = "\0"s; })},
      {"empty name list", record(hello_with(extension(0, vector16(""))))},
      {"empty extension", record(hello_with(extension(0, "")))},
      {"bytes behind the name list", record(hello_with(extension(0, vector16(name_entry("a")) + "x")))},
      {"name longer than its list", record(hello_with(extension(0, vector16("\0\0\5abc"s))))},
      {"extension longer than all", record(hello_with(u16(10) + u16(9) + "abc"))},
      {"server hello", record("\2" + kPlain.substr(1))},
      {"another message in the same record", record(kPlain + "\1")},
      {"another message begins in the last record", in_records_of(10, kPlain + std::string(9, 'x'))},
      {"empty record", record("") + record(kPlain)},
      {"empty record between", record(kPlain.substr(0, 9)) + record("") + record(kPlain.substr(9))},
      {"alert between", record(kPlain.substr(0, 9)) + record("\1\0"s, 21) + record(kPlain.substr(9))},
      {"change cipher spec first", record("\1", 20) + record(kPlain)},
      {"application data first", record("hello", 23)},
      {"record of 16385", record(std::string(16385, '\1'))},
      {"record version 3.5", record(kPlain, 22, "\3\5")},
      {"record version 1.1", record(kPlain, 22, "\1\1")},
      {"record version 2.0", record(kPlain, 22, "\2\0"s)},
      {"message of 128 KiB", record(long_body)},
      {"SSLv2 hello", "\x80\x2e\1\3\1" + std::string(41, 'x')},
      {"SSLv2 hello for 0.2", "\x80\x2e\1\0\2"s + std::string(41, 'x')},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(read_all(row.stream), State::malformed) << row.why;
    EXPECT_EQ(read_slowly(row.stream), State::malformed) << row.why;
  }
}

TEST(ClientHello, EndsAt64KiB) {
  // One byte a record: six stream bytes each. The hello itself would be allowed; the stream is not.
  const std::string large = hello_with(extension(21, std::string(11000, 'p')));
  EXPECT_EQ(read_all(in_records_of(1, large)), State::malformed);
  const std::string fits = hello_with(extension(21, std::string(10000, 'p')));
  EXPECT_EQ(read_all(in_records_of(1, fits)), State::complete);
}

TEST(ClientHello, OtherProtocolsAreNotTls) {
  for (const std::string& stream : {"GET / HTTP/1.1\r\n"s, "SSH-2.0-x\r\n"s, "\0\0\0\x08\x04\xd2\x16\x2f"s,
                                    "\x16\0\0\0\xd4\x07\0\0"s, "\x80\x2e\2\3\1"s, "\x81\x85mask"s, "\xff"s + "xyz"}) {
    EXPECT_EQ(read_all(stream), State::not_tls);
    EXPECT_EQ(read_slowly(stream), State::not_tls);
  }
}

TEST(LooksLikeTls, DecidesWithinSixBytes) {
  const struct {
    std::string prefix;
    Look look;
  } rows[] = {
      {"", Look::need_more},
      {"\x16", Look::need_more},
      {"\x16\3", Look::yes},
      {"\x15\3", Look::yes},
      {"\x14\3", Look::yes},
      {"\x17\3", Look::yes},
      {"\x16\2", Look::need_more},
      {"\x16\2\0\0\5"s, Look::need_more},
      {"\x16\2\0\0\5\1"s, Look::yes},
      {"\x16\2\0\0\5\2"s, Look::no},
      {"\x16\x10", Look::no},
      {"\x15\2", Look::no},
      {"\x80", Look::need_more},
      {"\x80\x2e", Look::need_more},
      {"\x80\x2e\1", Look::need_more},
      {"\x80\x2e\1\3", Look::yes},
      {"\x80\x2e\1\0"s, Look::need_more},
      {"\x80\x2e\1\0\2"s, Look::yes},
      {"\x80\x2e\1\0\3"s, Look::no},
      {"\x80\x2e\1\4", Look::no},
      {"\x13", Look::no},
      {"\x19", Look::no},
      {"G", Look::no},
  };
  for (const auto& row : rows) EXPECT_EQ(looks_like_tls(as_bytes(row.prefix)), row.look) << row.prefix.size();
}

}  // namespace
}  // namespace weir::wire
