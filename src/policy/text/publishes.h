// The published ports of one layer: its file's and its flags'. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "policy/compiled/source.h"

namespace weir::policy {

// Ports that one policy may publish: a descriptor each in the supervisor.
inline constexpr std::size_t kMaxPublishes = 256;

// Adds those of the flags (-p). An error where one is malformed or stands there twice, or where there are too many.
Result<> add_publishes(const std::vector<std::string>& flags, std::vector<Publish>& publishes);

// Whether each of `publishes` is among `outer`.
bool all_published(const std::vector<Publish>& publishes, const std::vector<Publish>& outer);

// One line for each that other machines can reach.
void note_wide(const std::vector<Publish>& publishes, std::vector<std::string>& notices);

}  // namespace weir::policy
