// Datagrams of one size for one socket, sent with one call: the kernel cuts them apart again (UDP_SEGMENT, 4.18), as
// far down as it can, so that its own work is done once for all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace weir::gateway {

class DatagramFlow;

class Train {
 public:
  // UDP_MAX_SEGMENTS of the oldest kernels, and what an IP packet's length field can say less the headers.
  static constexpr std::size_t kMaxCars = 64;
  static constexpr std::size_t kMaxBytes = 65535 - 40 - 8;

  Train() { bytes_.reserve(kMaxBytes); }

  bool empty() const { return cars_ == 0; }
  // Null if it is empty.
  DatagramFlow* flow() const { return flow_; }

  // Whether this one can be the next: of the same flow and no longer than the first, and no shorter one was before it.
  bool takes(const DatagramFlow& flow, Bytes message) const {
    return flow_ == &flow && cars_ < kMaxCars && bytes_.size() == cars_ * car_ && message.size() <= car_ &&
           bytes_.size() + message.size() <= kMaxBytes;
  }
  // Either takes() it, or the train is empty.
  void add(DatagramFlow& flow, Bytes message) {
    if (cars_ == 0) car_ = message.size();
    flow_ = &flow;
    bytes_.insert(bytes_.end(), message.begin(), message.end());
    ++cars_;
  }
  void clear() {
    flow_ = nullptr;
    bytes_.clear();
    cars_ = 0;
  }

  Bytes bytes() const { return bytes_; }
  std::size_t cars() const { return cars_; }
  // Size of all but perhaps the last.
  std::size_t car() const { return car_; }

 private:
  DatagramFlow* flow_ = nullptr;
  std::vector<std::uint8_t> bytes_;
  std::size_t cars_ = 0;
  std::size_t car_ = 0;
};

}  // namespace weir::gateway
