// The texts that are made from the table: --help, and the reference page.
#pragma once

#include <string>

#include "cli/option_table.h"

namespace weir::cli {

// `weir --help`: every command with half a line.
std::string overview_help();

// `weir COMMAND --help`.
std::string command_help(CommandId command);

// docs/reference/cli.md, whole. A test compares the file with this.
std::string cli_reference_markdown();

}  // namespace weir::cli
