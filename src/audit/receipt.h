// One page about one run: what ran, where it went, what it was refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "audit/tally.h"
#include "base/error.h"

namespace weir::audit {

// What the command did to a file of an overlay (--here=overlay, -v SRC:DST:overlay).
struct FileChange {
  std::string path;              // inside; as the command chose it
  std::string kind;              // "added", "changed", "deleted", "replaced", "unreadable"
  std::string type;              // "file", "folder", "link", "other"
  std::uint64_t bytes = 0;       // of a file
  std::string link_target = {};  // as the command chose it
  bool runs_outside = false;     // taken over, something outside would run it by itself (.git/hooks, .envrc ...)
};

struct FileChanges {
  bool looked = false;  // there was an overlay
  bool kept = false;    // weir diff and weir apply find them
  std::vector<FileChange> changes = {};
  std::uint64_t left_out = 0;
};

struct Receipt {
  std::string sandbox = {};
  std::string name = {};     // --name, else the same as `sandbox`
  std::string command = {};  // the program, not its arguments: those may hold secrets
  std::string mode = {};     // of the policy
  std::string policy = {};   // hash
  std::string floor = {};    // hash of the operator's floor; may be empty
  std::string started = {};  // RFC 3339
  std::string ended = {};
  std::int64_t exit_code = 0;
  std::string error = {};                 // why weir or a limit ended it; may be empty
  std::string record = {};                // the file of the events; empty where there is none
  std::string incomplete = {};            // why the record is not whole; may be empty
  std::vector<std::string> notices = {};  // what was insisted on, what was opened that usually is not
  FileChanges files = {};
  Tally tally = {};
};

// The page for people: what came from the guest is escaped.
std::string receipt_text(const Receipt& receipt);
// The same as one JSON object with a newline (docs/receipt.schema.json).
std::string receipt_json(const Receipt& receipt);

// The destinations of what receipt_json() wrote; for `weir policy learn`. Strict as parse_line() is: a guest chose
// names that stand there, and anybody may have written the file.
Result<std::vector<Destination>> parse_receipt(std::string_view text);

}  // namespace weir::audit
