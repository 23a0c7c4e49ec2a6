// Bytes from one descriptor to another, with a line for who waits at a terminal.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "base/error.h"

namespace weir::cli {

enum class Progress : std::uint8_t { shown, hidden };

class ProgressLine {
 public:
  // `what` is named in the line, which is written to standard error where that is a terminal. `total`: bytes, 0: not
  // known. Nothing is written in the first second.
  ProgressLine(const std::string& what, std::uint64_t total, Progress progress);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void add(std::uint64_t bytes);

 private:
  std::string what_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  std::uint64_t shown_ms_ = 0;
  bool wanted_ = false;
  bool shown_ = false;
};

// Until the end of `from`, or until `most` bytes were moved. Inside the kernel where it can. Errors name the side.
Result<std::uint64_t> move_bytes(int from, const std::string& from_name, int to, const std::string& to_name,
                                 ProgressLine& progress,
                                 std::uint64_t most = std::numeric_limits<std::uint64_t>::max());

}  // namespace weir::cli
