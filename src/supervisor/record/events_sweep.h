// The default events folder does not grow for ever.
#pragma once

#include <chrono>
#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace weir::supervisor {

struct KeptRecords {
  std::size_t always = 256;      // the newest, however old they are
  std::size_t at_most = 10'000;  // the newest, however young they are: a folder that is still quick to read
  std::chrono::hours younger_than = std::chrono::days(30);
};

// Removes records of sandboxes that have ended and are not to be kept; everything else in the folder stays. What cannot
// be removed is left to the next sweep.
void sweep_events(const std::string& folder, std::time_t now, const KeptRecords& keep = {});

// True for one sandbox of 256, by its id: reading the folder at every start would cost more than it saves.
bool sweeps(std::string_view sandbox);

// The names of the records in a folder, oldest first; none where there is no such folder.
std::vector<std::string> records_of(const std::string& folder);
// "w-0123abcd": what may be the id of a sandbox that weir named.
bool is_sandbox_id(std::string_view text);

// Whether a sandbox still writes to the file.
bool is_being_written(int fd);

// Whether nobody else has marked the file; until it is marked again nobody can.
bool hold_alone(int fd);

// A record that is being written holds this lock, which dies with its last writer.
void mark_as_written(int fd);

}  // namespace weir::supervisor
