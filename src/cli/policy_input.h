// From flags, a policy file and the operator's floor to one compiled policy.
#pragma once

#include <string>

#include "base/error.h"
#include "cli/command.h"
#include "policy/text/compile.h"
#include "sys/memory_file.h"

namespace weir::cli {

// The files behind a policy, as compile_policy() wants them.
struct PolicyInput {
  policy::CompileInput compile;
  // Where --policy named a compiled policy: a copy of it, not sealed yet, and the view of it that `compile` uses.
  sys::OwnedFd compiled_file;
  sys::Mapping mapping;
};

// What --policy, --net, --allow, --deny, --insist and the operator's floor say together, files read. An error where a
// file cannot be read, or where somebody else than root could have written the floor.
Result<PolicyInput> policy_input(const CommandLine& line, const Caller& caller);

// The same for a file that is named as an operand (policy check, policy test).
Result<PolicyInput> policy_input_of_file(const std::string& path, const CommandLine& line, const Caller& caller);

// A file that a command names, whole and bounded; the name is kept for messages.
Result<policy::TextFile> read_text_file(const std::string& path);

// Makes a copied compiled policy what `patch` says, and final: what RunOptions::policy_file wants.
Result<sys::OwnedFd> finish_compiled(PolicyInput input, const policy::ImagePatch& patch);

// What weir run cannot do with this policy: modes and keys that this version does not have, and --net host without
// --i-trust-this-code. Refused, because starting without them would be less than the policy promises.
Result<> check_runnable(const policy::Compiled& compiled, const CommandLine& line);

}  // namespace weir::cli
