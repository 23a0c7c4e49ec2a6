#include "daemon/guests.h"

#include <sys/socket.h>

namespace weir::daemon {

Guests::Stay::Stay(Guests& guests, Guest guest)
    : guests_(guests), at_(guests.all_.insert(guests.all_.end(), std::move(guest))) {}

Guests::Stay::~Stay() {
  guests_.all_.erase(at_);
}

void Guests::turn_out(const std::function<bool(const Guest&)>& is_welcome) {
  for (const Guest& guest : all_) {
    if (!is_welcome(guest)) ::shutdown(guest.connection.get(), SHUT_RDWR);
  }
}

}  // namespace weir::daemon
