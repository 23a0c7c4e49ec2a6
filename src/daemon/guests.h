// Requests of tokens that are being answered: who loses its token loses them.
#pragma once

#include <functional>
#include <list>
#include <string>

#include "daemon/principal.h"
#include "sys/owned_fd.h"

namespace weir::daemon {

struct Guest {
  std::string digest;  // of its token
  Principal who;
  sys::OwnedFd connection;  // a duplicate
};

class Guests {
 public:
  // Noted until it dies; does not outlive its Guests.
  class Stay {
   public:
    Stay(Guests& guests, Guest guest);
    Stay(const Stay&) = delete;
    Stay& operator=(const Stay&) = delete;
    ~Stay();

   private:
    Guests& guests_;
    std::list<Guest>::iterator at_;
  };

  // Ends the connections of those that are not welcome any more. Whoever answers them sees that nobody is there.
  void turn_out(const std::function<bool(const Guest&)>& is_welcome);

 private:
  std::list<Guest> all_;
};

}  // namespace weir::daemon
