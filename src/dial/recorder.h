// Where admission writes what it decided, before it acts on it.
#pragma once

#include "audit/event.h"

namespace weir::dial {

class Recorder {
 public:
  virtual ~Recorder() = default;
  // Takes an event; it is written with the next commit(). False: it cannot be written any more.
  virtual bool record(audit::Event event) = 0;
  // Writes what was recorded since the last time, by whomever. False: not all of it could be; then nothing of it may
  // happen. True if there was nothing to write.
  virtual bool commit() = 0;
  // How many commits failed. Between record() and one's own commit() somebody else's may have failed: then the record
  // is gone, and nothing is left to write.
  virtual std::uint64_t failed_commits() const = 0;
  // False when an event that was recorded now would not be written either, as far as is known.
  virtual bool healthy() const = 0;
};

}  // namespace weir::dial
