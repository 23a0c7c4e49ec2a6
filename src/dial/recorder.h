// Where admission writes what it decided, before it acts on it.
#pragma once

#include "audit/event.h"

namespace weir::dial {

class Recorder {
 public:
  virtual ~Recorder() = default;
  // False: the event could not be written. Then nothing new may be allowed.
  virtual bool record(audit::Event event) = 0;
  // Whether the last event could be written.
  virtual bool healthy() const = 0;
};

}  // namespace weir::dial
