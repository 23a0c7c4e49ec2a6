// The texts that are made from the table: --help, and the reference page.
#pragma once

#include <string>

#include "cli/option_table.h"

namespace weir::cli {

// `weir --help`: every command with half a line.
std::string overview_help();

inline constexpr std::size_t kDefaultHelpWidth = 100;

// `weir COMMAND --help`; paragraphs are wrapped at `width` columns, examples stay on one line.
std::string command_help(CommandId command, std::size_t width = kDefaultHelpWidth);

// docs/reference/cli.md, whole. A test compares the file with this.
std::string cli_reference_markdown();

// weir(1): docs/reference/weir.1, whole, as man(7) macros. A test compares the file with this.
std::string manual_page();

}  // namespace weir::cli
