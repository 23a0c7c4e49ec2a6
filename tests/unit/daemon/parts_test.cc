#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "base/json_document.h"
#include "daemon/budget.h"
#include "daemon/config.h"
#include "daemon/http_reader.h"
#include "daemon/information.h"
#include "daemon/metrics.h"
#include "daemon/output.h"
#include "daemon/pace.h"
#include "daemon/request_log.h"
#include "daemon/store.h"
#include "daemon/utf8.h"

namespace weir::daemon {
namespace {

using wire::ErrorCode;

TEST(Utf8, WellFormedOrNot) {
  for (const char* text : {"", "a", "\u00e4", "\u20ac", "\U0001f600", "\uffff"}) EXPECT_TRUE(is_utf8(text)) << text;
  for (const char* text :
       {"\xff", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80", "\xe2\x82"}) {
    EXPECT_FALSE(is_utf8(text)) << text;
  }
}

TEST(Utf8, AnUnfinishedCharacterWaits) {
  EXPECT_EQ(unfinished_bytes("a"), 0u);
  EXPECT_EQ(unfinished_bytes("a\xc3"), 1u);
  EXPECT_EQ(unfinished_bytes("a\xe2\x82"), 2u);
  EXPECT_EQ(unfinished_bytes("a\xf0\x9f\x98"), 3u);
  // What can never become one does not.
  EXPECT_EQ(unfinished_bytes("a\xff"), 0u);
  EXPECT_EQ(unfinished_bytes("\x80\x80\x80"), 0u);
  EXPECT_EQ(unfinished_bytes("a\xe0\x80"), 0u);
  EXPECT_EQ(unfinished_bytes("\xe2\x82\xac"), 0u);
}

TEST(Utf8, ExactBytesBesideTheText) {
  std::string json = "{";
  append_output(json, "stdout", "hi", Exactness::both);
  append_output(json, "stderr", "\xff", Exactness::both);
  EXPECT_EQ(json, R"({"stdout":"hi","stderr":"\ufffd","stderr_base64":"/w==")");
  json = "{";
  append_output(json, "stdout", "\xff", Exactness::one_key);
  EXPECT_EQ(json, R"({"stdout_base64":"/w==")");
}

TEST(Http, AHeadInPieces) {
  HttpReader reader;
  const std::string text =
      "PUT /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Type: Application/JSON; charset=utf-8\r\n"
      "Content-Length: 5\r\nIdempotency-Key: k\r\n\r\nhello";
  std::string pending;
  for (const char c : text.substr(0, text.size() - 5)) {
    pending += c;
    const auto used = reader.take_head(pending);
    ASSERT_TRUE(used);
    pending.erase(0, *used);
  }
  ASSERT_TRUE(reader.is_head());
  const RequestHead head = reader.head();
  EXPECT_EQ(head.method, "PUT");
  EXPECT_EQ(head.target, "/v1/x?y=1");
  EXPECT_EQ(head.content_type, "application/json");
  EXPECT_EQ(head.content_length, 5u);
  EXPECT_EQ(head.idempotency_key, "k");
  EXPECT_TRUE(head.has_body);
  EXPECT_TRUE(head.keep_alive);
}

TEST(Http, WhatIsNoRequest) {
  const auto code = [](const std::string& text) {
    HttpReader reader;
    const auto used = reader.take_head(text);
    return used ? std::string("taken") : std::string(wire::name_of(used.error().code));
  };
  EXPECT_EQ(code("hello\r\n\r\n"), "bad_request");
  EXPECT_EQ(code("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), "bad_request");
  EXPECT_EQ(code("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "bad_request");
  EXPECT_EQ(code("GET / HTTP/1.1\r\nA b: c\r\n\r\n"), "bad_request");
  EXPECT_EQ(code("\x16\x03\x01\x02\x00\x01\x00"), "bad_request");
  EXPECT_EQ(code("GET / HTTP/1.1\r\nX: " + std::string(70000, 'a') + "\r\n\r\n"), "too_large");
}

TEST(Http, ChunksAreDecoded) {
  HttpReader reader;
  std::string text =
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n5;x=y\r\npedia\r\n0\r\n\r\nnext";
  const auto used = reader.take_head(text);
  ASSERT_TRUE(used);
  text.erase(0, *used);
  std::string body;
  std::array<std::uint8_t, 3> buffer{};
  for (int turns = 0; !reader.is_done() && turns < 50; ++turns) {
    const auto step = reader.take_body(text, buffer);
    ASSERT_TRUE(step) << step.error().message;
    text.erase(0, step->used);
    body += as_text(Bytes(buffer).first(step->made));
  }
  EXPECT_EQ(body, "wikipedia");
  EXPECT_EQ(text, "next");
}

class StoreTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(folder_.data()), nullptr); }
  void TearDown() override {
    for (const char* end : {"", "-wal", "-shm"}) ::unlink((path() + end).c_str());
    ::rmdir(folder_.c_str());
  }
  std::string path() const { return folder_ + "/daemon.db"; }

  std::string folder_ = "/tmp/weir-store-XXXXXX";
  Principal alice_{.kind = Principal::Kind::token, .name = "alice", .rights = Principal::Rights::change};
  Principal bob_{.kind = Principal::Kind::token, .name = "bob", .rights = Principal::Rights::change};
};

TEST_F(StoreTest, WhatIsOwnedIsSeenByItsOwnerAndTheMachines) {
  auto store = Store::open(path());
  ASSERT_TRUE(store) << store.error().what();
  ASSERT_TRUE(store->note(Owned::session, {.id = "w-1"}, alice_));
  ASSERT_TRUE(store->note(Owned::session, {.id = "w-2"}, machine_owner()));
  EXPECT_TRUE(store->is_visible(Owned::session, "w-1", alice_));
  EXPECT_FALSE(store->is_visible(Owned::session, "w-1", bob_));
  EXPECT_FALSE(store->is_visible(Owned::snapshot, "w-1", alice_));
  EXPECT_FALSE(store->is_visible(Owned::session, "w-2", alice_));
  EXPECT_TRUE(store->is_visible(Owned::session, "w-1", machine_owner()));
  EXPECT_TRUE(store->is_visible(Owned::session, "w-2", machine_owner()));
  EXPECT_FALSE(store->is_visible(Owned::session, "w-1", Principal{}));
  const auto reopened = Store::open(path());
  ASSERT_TRUE(reopened);
  ASSERT_EQ(store->things_of(Owned::session, alice_).value().size(), 1u);
  EXPECT_EQ(store->things_of(Owned::session, alice_).value().at(0).id, "w-1");
  store->disown(Owned::session, "w-1");
  EXPECT_FALSE(store->is_visible(Owned::session, "w-1", alice_));
}

TEST_F(StoreTest, ANameIsOnesOwn) {
  auto store = Store::open(path());
  ASSERT_TRUE(store);
  ASSERT_TRUE(store->note(Owned::session, {.id = "w-1", .name = "x", .begun = 7}, alice_));
  EXPECT_EQ(store->note(Owned::session, {.id = "w-2", .name = "x"}, alice_).error().code(), EEXIST);
  EXPECT_TRUE(store->note(Owned::session, {.id = "w-2", .name = "x"}, bob_));
  EXPECT_TRUE(store->note(Owned::snapshot, {.id = "s-1", .name = "x"}, alice_));
  // Without a name there may be any number.
  EXPECT_TRUE(store->note(Owned::session, {.id = "w-3"}, alice_));
  EXPECT_TRUE(store->note(Owned::session, {.id = "w-4"}, alice_));
  EXPECT_EQ(store->id_called(Owned::session, "x", alice_), "w-1");
  EXPECT_EQ(store->id_called(Owned::session, "w-3", alice_), "w-3");
  EXPECT_EQ(store->id_called(Owned::session, "x", bob_), "w-2");
  EXPECT_EQ(store->id_called(Owned::session, "w-1", bob_), "");
  EXPECT_EQ(store->id_called(Owned::session, "", alice_), "");
  EXPECT_EQ(store->id_called(Owned::session, "x", Principal{}), "");
  EXPECT_EQ(store->whose(Owned::session, "w-2")->owner, "bob");
  EXPECT_FALSE(store->whose(Owned::session, "w-9"));
  EXPECT_EQ(store->things_of(Owned::snapshot, alice_).value().at(0).begun, 0);
  ASSERT_TRUE(store->set_made(Owned::session, "w-1"));
  ASSERT_TRUE(store->unname(Owned::session, "w-1"));
  EXPECT_EQ(store->id_called(Owned::session, "x", alice_), "");
  EXPECT_TRUE(store->note(Owned::session, {.id = "w-5", .name = "x"}, alice_));
}

TEST_F(StoreTest, OldAnswersMakeRoom) {
  auto store = Store::open(path());
  ASSERT_TRUE(store);
  const Reply large{.body = std::string(Store::kMaxAnswer, 'x')};
  const std::int64_t fit = Store::kMaxAnswers / static_cast<std::int64_t>(Store::kMaxAnswer);
  for (std::int64_t i = 0; i <= fit; ++i) {
    ASSERT_EQ(store->begin(alice_, std::to_string(i), "r", 100 + i)->state, Store::Kept::State::fresh);
    ASSERT_TRUE(store->finish(alice_, std::to_string(i), large));
  }
  EXPECT_EQ(store->answer_bytes(alice_), static_cast<std::uint64_t>(Store::kMaxAnswers));
  EXPECT_EQ(store->answer_bytes(bob_), 0u);
  EXPECT_EQ(store->begin(alice_, "0", "r", 200)->state, Store::Kept::State::fresh);
  EXPECT_EQ(store->begin(alice_, "1", "r", 200)->state, Store::Kept::State::answered);
}

TEST(Pace, ASlowReaderEarnsItsTime) {
  using std::chrono::seconds;
  Pace pace;
  EXPECT_EQ(pace.left(), Pace::kGrace);
  pace.waited(seconds(20));
  EXPECT_EQ(pace.left(), Pace::kGrace - seconds(20));
  pace.took(5 * Pace::kBytesPerSecond);
  EXPECT_EQ(pace.left(), Pace::kGrace - seconds(15));
  pace.waited(seconds(60));
  EXPECT_EQ(pace.left(), seconds(0));
}

TEST_F(StoreTest, AnAnswerIsGivenAgainToWhoAskedTheSame) {
  using State = Store::Kept::State;
  auto store = Store::open(path());
  ASSERT_TRUE(store);
  EXPECT_EQ(store->begin(alice_, "k", "one", 100)->state, State::fresh);
  EXPECT_EQ(store->begin(alice_, "k", "one", 101)->state, State::running);
  EXPECT_EQ(store->begin(alice_, "k", "two", 101)->state, State::mismatch);
  EXPECT_EQ(store->begin(bob_, "k", "two", 101)->state, State::fresh);
  EXPECT_EQ(store->begin(machine_owner(), "k", "three", 101)->state, State::fresh);
  Reply reply = json_reply(201, "{}");
  reply.headers.emplace_back("Location", "/x");
  ASSERT_TRUE(store->finish(alice_, "k", reply));
  const auto again = store->begin(alice_, "k", "one", 102);
  ASSERT_EQ(again->state, State::answered);
  EXPECT_EQ(again->reply.status, 201u);
  EXPECT_EQ(again->reply.body, "{}");
  EXPECT_EQ(again->reply.headers.at(0).second, "/x");
  store->abandon(bob_, "k");
  EXPECT_EQ(store->begin(bob_, "k", "other", 103)->state, State::fresh);
  // A day later it is a new one.
  EXPECT_EQ(store->begin(alice_, "k", "two", 100 + Store::kKeptSeconds + 1)->state, State::fresh);
}

TEST_F(StoreTest, WhatADaemonDidNotFinishCanBeAskedAgain) {
  using State = Store::Kept::State;
  {
    auto store = Store::open(path());
    ASSERT_TRUE(store);
    EXPECT_EQ(store->begin(alice_, "k", "one", 100)->state, State::fresh);
  }
  auto store = Store::open(path());
  ASSERT_TRUE(store);
  EXPECT_EQ(store->begin(alice_, "k", "one", 101)->state, State::fresh);
}

TEST(Config, WhatOthersCanReachNeedsTokensAndTls) {
  const auto parsed = [](std::vector<std::string> words) { return parse_config(words).has_value(); };
  EXPECT_TRUE(parsed({}));
  EXPECT_TRUE(parsed({"--socket=/x", "--log=json", "--grace=3", "--max-sessions=5"}));
  EXPECT_FALSE(parsed({"--listen=127.0.0.1:80"}));
  EXPECT_TRUE(parsed({"--listen=127.0.0.1:80", "--token-file=t"}));
  EXPECT_TRUE(parsed({"--listen=[::1]:0", "--token-file=t"}));
  EXPECT_TRUE(parsed({"--listen=localhost:0", "--token-file=t"}));
  for (const char* address : {"0.0.0.0:80", "[::]:80", "192.0.2.1:80"}) {
    const std::string listen = std::string("--listen=") + address;
    EXPECT_FALSE(parsed({listen, "--token-file=t"})) << address;
    EXPECT_FALSE(parsed({listen, "--tls-cert=c", "--tls-key=k"})) << address;
    EXPECT_TRUE(parsed({listen, "--token-file=t", "--tls-cert=c", "--tls-key=k"})) << address;
  }
  for (const char* word : {"--listen=80", "--listen=x:80", "--listen=127.0.0.1:99999", "--log=xml", "--grace=0",
                           "--max-sessions=many", "--tls-cert=c", "--what=x", "listen", "--socket="}) {
    EXPECT_FALSE(parsed({word, "--token-file=t"})) << word;
  }
}

TEST(Budget, IsGivenBack) {
  Budget budget(10);
  {
    Budget::Share share(budget, std::string(kMachineOwnerKey));
    EXPECT_TRUE(share.grow(7));
    EXPECT_FALSE(share.grow(4));
    EXPECT_TRUE(share.grow(3));
  }
  Budget::Share other(budget, std::string(kMachineOwnerKey));
  EXPECT_TRUE(other.grow(10));
}

TEST(Budget, NobodyTakesThePartsOfOthers) {
  Budget budget(16);
  Budget::Share first(budget, "alice");
  EXPECT_TRUE(first.grow(3));
  {
    Budget::Share second(budget, "alice");
    EXPECT_FALSE(second.grow(2));
    EXPECT_TRUE(second.grow(1));
    EXPECT_FALSE(first.grow(1));
    Budget::Share his(budget, "bob");
    EXPECT_TRUE(his.grow(4));
  }
  EXPECT_TRUE(first.grow(1));
  EXPECT_FALSE(first.grow(1));
}

TEST(Output, AnAnswerHoldsItsMemoryUntilItIsSent) {
  Budget budget(4000);
  const auto collected = [&](std::size_t bytes) {
    CollectedOutput output{.memory = std::make_shared<Budget::Share>(budget, "alice")};
    EXPECT_TRUE(output.memory->grow(bytes));
    output.texts[0].assign(bytes, '\xff');
    return collected_reply(R"({"exit_code":0)", std::move(output));
  };
  {
    const Reply reply = collected(100);
    const auto json = parse_json(reply.body);
    ASSERT_TRUE(json);
    EXPECT_FALSE((*json)["truncated"].get<bool>());
    EXPECT_GT(reply.body.size(), 700u);
    Budget::Share more(budget, "alice");
    EXPECT_FALSE(more.grow(1000 - reply.body.size() + 1));
    EXPECT_TRUE(more.grow(1000 - reply.body.size()));
  }
  // What is too much as JSON is cut, and said so.
  const Reply reply = collected(1000);
  EXPECT_LE(reply.body.size(), 1000u);
  const auto json = parse_json(reply.body);
  ASSERT_TRUE(json);
  EXPECT_TRUE((*json)["truncated"].get<bool>());
}

TEST(Log, NoLineOfACallersOwn) {
  const RequestLine request{.who = "alice", .method = "GET", .path = "/a\n{}", .endpoint = "none", .status = 404};
  const std::string json = log_line(LogForm::json, request, "now");
  EXPECT_EQ(json.find('\n'), json.size() - 1);
  EXPECT_TRUE(parse_json(json));
  const std::string text = log_line(LogForm::text, request, "now");
  EXPECT_EQ(text.find('\n'), text.size() - 1);
}

// What is served says every code, and no other.
TEST(Openapi, TheCodesAreThoseOfTheProgram) {
  const auto document = parse_json(openapi_document());
  ASSERT_TRUE(document) << document.error().what();
  std::set<std::string> said;
  for (const Json& code : (*document)["components"]["schemas"]["ErrorCode"]["enum"])
    said.insert(code.get<std::string>());
  std::set<std::string> known;
  for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code) {
    known.insert(std::string(wire::name_of(static_cast<ErrorCode>(code))));
  }
  EXPECT_EQ(said, known);
}

}  // namespace
}  // namespace weir::daemon
