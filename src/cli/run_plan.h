// The arguments of `weir run`, one by one, checked before anything starts.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/command.h"
#include "policy/text/compile.h"
#include "sandbox/spec.h"
#include "supervisor/run_options.h"

namespace weir::cli {

// "root", "sandbox", or a number up to 65533: 65534 is the kernel's nobody, to which everything unmapped belongs.
Result<sandbox::User> parse_user(std::string_view text);

// FILE (made absolute from `folder`), "-" or "none".
Result<supervisor::EventsSink> parse_events(std::string_view text, std::string_view folder);

// 1-63 of [A-Za-z0-9_.-], the first a letter or a digit.
Result<std::string> parse_name(std::string_view text);

// A private IPv4 /16.
Result<net::Cidr> parse_subnet(std::string_view text);

// An absolute path inside.
Result<std::string> parse_workdir(std::string_view text);

// `path` seen from `folder`; it need not exist. `folder` may be empty when `path` is absolute.
Result<std::string> absolute_path(std::string_view path, std::string_view folder);

// What a command wrote through a share would be believed: an error where the file or folder `record` lies in one that
// it can write.
Result<> check_record_outside(const std::string& record, const std::vector<sandbox::Share>& shares,
                              const std::string& remedy);

// Everything together; reads env files and looks at shared folders, starts nothing.
// Archives given as --image are unpacked here unless it is a dry run.
Result<supervisor::RunOptions> plan_run(const CommandLine& line, const Caller& caller, const policy::Compiled& policy);

// --dry-run: the policy and what would be mounted. Values of environment variables are left out: they may be secrets.
// `policy`: as `weir policy show` prints it, in the same format.
std::string plan_text(const supervisor::RunOptions& options, std::string_view policy);
std::string plan_json(const supervisor::RunOptions& options, std::string_view policy);

// A session that sleeps guards its --sensitive files by their paths when it wakes: an error where what runs inside
// could put another file in the place of one.
Result<> check_guarded(const supervisor::RunOptions& run);

}  // namespace weir::cli
