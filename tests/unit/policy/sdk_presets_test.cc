// The Python SDK repeats the sets as constants, so that they are there without a daemon. This says that they are the
// same.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "policy/text/sets.h"

namespace weir::policy {
namespace {

std::string presets_of_the_sdk() {
  std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/sdk/python/src/weir/presets.py");
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename Targets>
std::string as_python(const std::string& name, const Targets& targets) {
  // As the formatter of that package has it.
  if (targets.size() == 1) return "\n" + name + ": Final = (\"" + std::string(*targets.begin()) + "\",)\n";
  std::string text = "\n" + name + ": Final = (\n";
  for (const auto& target : targets) text += "    \"" + std::string(target) + "\",\n";
  return text + ")\n";
}

TEST(SdkPresets, AreTheSets) {
  const std::string have = presets_of_the_sdk();
  std::size_t names = 0;
  const auto expect = [&](const std::string& wanted) {
    ++names;
    EXPECT_NE(have.find(wanted), std::string::npos) << "sdk/python/src/weir/presets.py should say:\n" << wanted;
  };
  for (const HostSet& set : host_sets()) expect(as_python(preset_name(set), set.hosts));
  expect(as_python("CLOUD_METADATA_DENY", cloud_metadata_deny()));
  std::size_t lists = 0;
  for (auto at = have.find(": Final = ("); at != std::string::npos; at = have.find(": Final = (", at + 1)) ++lists;
  EXPECT_EQ(lists, names) << "a list of the SDK is no set";
}

}  // namespace
}  // namespace weir::policy
