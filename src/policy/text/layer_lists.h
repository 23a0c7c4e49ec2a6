// The imported lists of one layer: read, keyed, turned into entries. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "policy/text/compile.h"
#include "policy/text/name_list.h"
#include "policy/text/policy_file.h"

namespace weir::policy {

struct ListText {
  ListSpec spec;     // its path as the author wrote it
  std::string text;  // of the file
  std::string place;
};

// Those of the file, relative to it, then those of the flags.
Result<std::vector<ListText>> read_lists(const PolicyText& policy, const std::vector<std::string>& flags,
                                         const FileReader& read);
// The key of the layer's hashes.
std::uint64_t key_of(const std::vector<ListText>& lists);
// Adds the names of a list. What was skipped is a notice.
Result<Entry> add_list(const ListText& list, InvalidLines invalid, ListedNames& names,
                       std::vector<std::string>& notices);
Result<> check_list_count(const std::vector<Entry>& entries);

}  // namespace weir::policy
