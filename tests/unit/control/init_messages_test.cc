#include "control/init_messages.h"

#include <gtest/gtest.h>

#include <array>

namespace weir::control {
namespace {

template <class Variant>
std::vector<std::uint8_t> bytes_of(const Variant& message) {
  std::array<std::uint8_t, kMaxMessage> buffer;
  const Bytes encoded = encode(message, buffer);
  return {encoded.begin(), encoded.end()};
}

TEST(InitMessages, SurviveTheRoundTrip) {
  const auto failed = decode<FromInit>(bytes_of(FromInit(Failed{.code = 13, .what = "cannot", .remedy = "do"})));
  ASSERT_TRUE(failed && std::holds_alternative<Failed>(*failed));
  EXPECT_EQ(std::get<Failed>(*failed).code, 13u);
  EXPECT_EQ(std::get<Failed>(*failed).what, "cannot");
  EXPECT_EQ(std::get<Failed>(*failed).remedy, "do");

  const auto exited = decode<FromInit>(
      bytes_of(FromInit(Exited{.status = 0x8b, .user_us = 1, .system_us = 1ull << 40, .max_rss_kib = 3})));
  ASSERT_TRUE(exited && std::holds_alternative<Exited>(*exited));
  EXPECT_EQ(std::get<Exited>(*exited).status, 0x8bu);
  EXPECT_EQ(std::get<Exited>(*exited).system_us, 1ull << 40);

  const auto refused = decode<FromInit>(bytes_of(FromInit(NotExecuted{.code = 2})));
  ASSERT_TRUE(refused && std::holds_alternative<NotExecuted>(*refused));
  const net::Endpoint to{.address = *net::IpAddress::parse("::1"), .port = 80};
  const auto open =
      decode<ToInit>(bytes_of(ToInit(OpenSocket{.id = 1ull << 40, .kind = OpenSocket::Kind::datagram, .to = to})));
  ASSERT_TRUE(open && std::holds_alternative<OpenSocket>(*open));
  EXPECT_EQ(std::get<OpenSocket>(*open).kind, OpenSocket::Kind::datagram);
  EXPECT_EQ(std::get<OpenSocket>(*open).to, to);
  const auto made = decode<FromInit>(bytes_of(FromInit(SocketMade{.id = 7})));
  ASSERT_TRUE(made && std::holds_alternative<SocketMade>(*made));
  EXPECT_EQ(std::get<SocketMade>(*made).id, 7u);
  const auto signal = decode<ToInit>(bytes_of(ToInit(SendSignal{.number = 15})));
  ASSERT_TRUE(signal && std::holds_alternative<SendSignal>(*signal));
  EXPECT_EQ(std::get<SendSignal>(*signal).number, 15);
  for (const ToInit& message : {ToInit(Begin{}), ToInit(Execute{})}) {
    const auto decoded = decode<ToInit>(bytes_of(message));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->index(), message.index());
  }
  for (const FromInit& message : {FromInit(ListenerMade{}), FromInit(TunMade{}), FromInit(TerminalMade{}),
                                  FromInit(Started{}), FromInit(SealMade{})}) {
    const auto decoded = decode<FromInit>(bytes_of(message));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->index(), message.index());
  }
}

TEST(InitMessages, OfASandboxThatLivesOn) {
  const auto started = decode<FromInit>(bytes_of(FromInit(ProcessStarted{.id = 1ull << 40, .pid = 7})));
  ASSERT_TRUE(started && std::holds_alternative<ProcessStarted>(*started));
  EXPECT_EQ(std::get<ProcessStarted>(*started).id, 1ull << 40);
  EXPECT_EQ(std::get<ProcessStarted>(*started).pid, 7u);
  const auto exited = decode<FromInit>(
      bytes_of(FromInit(ProcessExited{.id = 2, .how = {.status = 9, .user_us = 1, .system_us = 2, .max_rss_kib = 3}})));
  ASSERT_TRUE(exited && std::holds_alternative<ProcessExited>(*exited));
  EXPECT_EQ(std::get<ProcessExited>(*exited).how.status, 9u);
  EXPECT_EQ(std::get<ProcessExited>(*exited).how.max_rss_kib, 3u);
  const auto refused = decode<FromInit>(
      bytes_of(FromInit(ProcessNotExecuted{.id = 3, .pid = 4, .step = ProcessNotExecuted::Step::folder, .code = 2})));
  ASSERT_TRUE(refused && std::holds_alternative<ProcessNotExecuted>(*refused));
  EXPECT_EQ(std::get<ProcessNotExecuted>(*refused).step, ProcessNotExecuted::Step::folder);
  const auto start = decode<ToInit>(
      bytes_of(ToInit(StartProcess{.id = 5, .arguments = 70'000, .terminal = true, .rows = 33, .columns = 99})));
  ASSERT_TRUE(start && std::holds_alternative<StartProcess>(*start));
  EXPECT_EQ(std::get<StartProcess>(*start).arguments, 70'000u);
  EXPECT_EQ(std::get<StartProcess>(*start).columns, 99);
  const auto file = decode<ToInit>(
      bytes_of(ToInit(StartFileTask{.id = 6, .what = StartFileTask::Do::untar, .mode = 0644, .recursive = true})));
  ASSERT_TRUE(file && std::holds_alternative<StartFileTask>(*file));
  EXPECT_EQ(std::get<StartFileTask>(*file).what, StartFileTask::Do::untar);
  for (const ToInit& message :
       {ToInit(Freeze{}), ToInit(Thaw{}), ToInit(EndFileTask{.id = 1}), ToInit(SignalProcess{.id = 1, .number = 9})}) {
    const auto decoded = decode<ToInit>(bytes_of(message));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->index(), message.index());
  }
}

TEST(InitMessages, NothingShortLongOrUnknown) {
  for (const FromInit& message :
       {FromInit(Failed{.code = 1, .what = "abc", .remedy = "d"}), FromInit(Started{}), FromInit(Exited{}),
        FromInit(NotExecuted{}), FromInit(ProcessStarted{}), FromInit(ProcessFailed{}), FromInit(ProcessNotExecuted{}),
        FromInit(ProcessExited{}), FromInit(StandsStill{}), FromInit(Moves{})}) {
    std::vector<std::uint8_t> bytes = bytes_of(message);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      EXPECT_FALSE(decode<FromInit>(Bytes(bytes).first(size))) << message.index() << " " << size;
    bytes.push_back(0);
    EXPECT_FALSE(decode<FromInit>(bytes)) << message.index();
  }
  for (unsigned type = std::variant_size_v<FromInit>; type < 256; ++type)
    EXPECT_FALSE(decode<FromInit>(std::array{static_cast<std::uint8_t>(type)}));
}

TEST(InitMessages, TextIsBounded) {
  const std::string longer(kMaxText + 5, 'x');
  const std::vector<std::uint8_t> bytes = bytes_of(FromInit(Failed{.code = 1, .what = longer, .remedy = longer}));
  const auto decoded = decode<FromInit>(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<Failed>(*decoded).what.size(), kMaxText);
  // A count above the bound is refused even if the bytes are there.
  std::vector<std::uint8_t> forged = {5, 0, 0, 0, 1, 0x04, 0x01};
  forged.resize(forged.size() + 0x401 + 2);
  EXPECT_FALSE(decode<FromInit>(forged));
  forged = {5, 0, 0, 0, 1, 0x04, 0x00};
  forged.resize(forged.size() + 0x400 + 2);
  EXPECT_TRUE(decode<FromInit>(forged));
}

}  // namespace
}  // namespace weir::control
