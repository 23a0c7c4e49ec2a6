// A policy that was compiled before, as compile.cc wants it. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "policy/text/compile.h"
#include "policy/text/policy_file.h"

namespace weir::policy {

// Checks everything: layout, sums, and that it holds a session and nothing of the machine. A floor in it would be a
// floor that somebody else than the operator wrote.
Result<Image> open_compiled(const CompiledFile& file);
// As if it had been written.
Result<PolicyText> text_of_compiled(const Image& image, const std::string& name);
// The entries about which something is said at start, with those of their targets only.
Result<std::vector<Entry>> noteworthy_entries(const Image& image);
void add_broad(const Entry& entry, std::vector<std::string>& broad);
std::string hash_of(const ImagePatch& patch);

}  // namespace weir::policy
