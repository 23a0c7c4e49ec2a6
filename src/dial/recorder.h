// Where admission writes what it decided, before it acts on it.
#pragma once

#include "audit/event.h"

namespace weir::dial {

class Recorder {
 public:
  virtual ~Recorder() = default;
  // Takes an event; it is written with the next commit(). False: it cannot be written any more.
  virtual bool record(audit::Event event) = 0;
  // Writes what was recorded. False: not all of it could be; then nothing of it may happen.
  virtual bool commit() = 0;
  // Whether the last commit succeeded.
  virtual bool healthy() const = 0;
};

}  // namespace weir::dial
