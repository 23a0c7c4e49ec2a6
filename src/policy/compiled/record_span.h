// Arrays of records inside an image. Internal to this room.
#pragma once

#include <cstring>
#include <type_traits>

#include "base/bytes.h"
#include "policy/compiled/format.h"

namespace weir::policy {

// An array of records that lies in the image; reads by copy, so alignment does not matter. What is not there reads as
// zeros: the numbers inside of an image are followed without having been looked at before, which would touch every page
// of a million names at every start.
template <class Record>
class RecordSpan {
  static_assert(std::is_trivially_copyable_v<Record>);

 public:
  RecordSpan() = default;
  RecordSpan(Bytes image, format::Section section) : start_(image.data() + section.offset), count_(section.count) {}
  std::uint32_t size() const { return count_; }
  const std::uint8_t* address_of(std::uint32_t index) const {
    return start_ + static_cast<std::size_t>(index) * sizeof(Record);
  }
  Record operator[](std::uint32_t index) const {
    Record record{};
    if (index >= count_) return record;
    std::memcpy(&record, address_of(index), sizeof(Record));
    return record;
  }

 private:
  const std::uint8_t* start_ = nullptr;
  std::uint32_t count_ = 0;
};

}  // namespace weir::policy
