#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "cli/command.h"
#include "cli/doctor/probe.h"
#include "sys/throwaway_child.h"

namespace weir::cli {
namespace {

using testing::HasSubstr;

CommandLine doctor_line(const char* format) {
  return CommandLine{CommandId::doctor, {{OptionId::output, std::string(format)}}, {}};
}

TEST(Doctor, HasOneLinePerControlAndPerSetting) {
  const auto outcome = doctor_command(doctor_line("text"));
  ASSERT_TRUE(outcome);
  std::istringstream lines(outcome->out);
  std::string line;
  bool missing = false;
  for (const ProbeGroup& group : all_probes()) {
    for (const Probe& probe : group.probes) {
      ASSERT_TRUE(std::getline(lines, line));
      EXPECT_THAT(line, HasSubstr(" " + std::string(probe.control) + " "));
      missing = missing || line.starts_with("MISSING");
    }
  }
  for (const Setting& setting : all_settings()) {
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_THAT(line, HasSubstr(std::string(setting.path)));
  }
  EXPECT_FALSE(std::getline(lines, line)) << line;
  EXPECT_EQ(outcome->exit_code, missing ? 1 : 0);
}

TEST(Doctor, NoTwoControlsHaveOneName) {
  std::set<std::string_view> names;
  for (const ProbeGroup& group : all_probes()) {
    for (const Probe& probe : group.probes) {
      EXPECT_TRUE(names.insert(probe.control).second) << probe.control;
      // The column of the report.
      EXPECT_LE(probe.control.size(), 20u) << probe.control;
    }
  }
}

TEST(Doctor, SpeaksJson) {
  const auto outcome = doctor_command(doctor_line("json"));
  ASSERT_TRUE(outcome);
  EXPECT_THAT(
      outcome->out,
      HasSubstr("\"controls\":[{\"control\":\"user namespace\",\"group\":\"processes\",\"needed_for\":\"every run\""));
  EXPECT_THAT(outcome->out, HasSubstr(outcome->exit_code == 0 ? "{\"v\":1,\"ok\":true," : "{\"v\":1,\"ok\":false,"));
  EXPECT_FALSE(doctor_command(doctor_line("yaml")));
}

// A user namespace of our own has a limit of its own: setting it to nothing is what a hardened host does.
TEST(Doctor, NamesTheSettingThatForbidsUserNamespaces) {
  const auto report = sys::in_throwaway_child([]() -> Result<std::string> {
    WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
    std::ofstream("/proc/sys/user/max_user_namespaces") << "0";
    WEIR_TRY(const Outcome outcome, doctor_command(doctor_line("text")));
    return std::to_string(outcome.exit_code) + outcome.out;
  });
  ASSERT_TRUE(report) << report.error().what();
  EXPECT_THAT(*report, HasSubstr("1MISSING  user namespace"));
  EXPECT_THAT(*report, HasSubstr("/proc/sys/user/max_user_namespaces is 0"));
  EXPECT_THAT(*report, HasSubstr("fix: sudo sysctl -w user.max_user_namespaces=65536"));
  EXPECT_THAT(*report, HasSubstr("MISSING  pid namespace        not tried: needs a user namespace"));
  EXPECT_THAT(*report, HasSubstr("ok       gateway seccomp"));
}

TEST(Doctor, AKnownRemedyIsKept) {
  EXPECT_EQ(explain_refusal(Error("x").with_remedy("sudo modprobe tun")).remedy(), "sudo modprobe tun");
}

TEST(Doctor, ReadsSettingsThatAreAbsent) {
  EXPECT_EQ(read_setting("/proc/sys/user/no_such_setting"), "absent");
}

TEST(Doctor, SettingsOfSeveralNumbersAreReadable) {
  const std::string range = read_setting("/proc/sys/net/ipv4/ping_group_range");  // the kernel puts a tab
  EXPECT_THAT(range, HasSubstr(" "));
  EXPECT_THAT(range, testing::Not(HasSubstr("\t")));
}

}  // namespace
}  // namespace weir::cli
