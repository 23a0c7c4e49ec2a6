#include "changes/contents.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "sys/errno.h"

namespace weir::changes {
namespace {

constexpr std::uint64_t kChunk = 256u << 10;

struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// The next data from `at` on; nothing: only a hole is left before `end`. A file system without holes has data
// throughout.
std::optional<Extent> next_data(int fd, std::uint64_t at, std::uint64_t end) {
  const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? std::nullopt : std::optional(Extent{.begin = at, .end = end});
  const auto begin = static_cast<std::uint64_t>(data);
  if (begin >= end) return std::nullopt;
  const off_t hole = ::lseek(fd, data, SEEK_HOLE);
  return Extent{.begin = begin, .end = hole < 0 ? end : std::min(end, static_cast<std::uint64_t>(hole))};
}

Result<> send(int from, int to, const Extent& extent, std::uint64_t place) {
  if (::lseek(to, static_cast<off_t>(place), SEEK_SET) < 0) return sys::errno_error("cannot write");
  auto at = static_cast<off_t>(extent.begin);
  while (static_cast<std::uint64_t>(at) < extent.end) {
    const ssize_t sent = ::sendfile(to, from, &at, std::min(extent.end - static_cast<std::uint64_t>(at), kChunk));
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return sys::errno_error("cannot copy");
    if (sent == 0) return fail("cannot copy: the file is shorter than it was");
  }
  return {};
}

// How many of the bytes there are.
Result<std::size_t> read_at(const Span& span, std::uint64_t done, std::vector<char>& buffer, std::size_t wanted) {
  std::size_t got = 0;
  while (got < wanted) {
    const ssize_t more =
        ::pread(span.fd, buffer.data() + got, wanted - got, static_cast<off_t>(span.offset + done + got));
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) return sys::errno_error("cannot read");
    if (more == 0) break;
    got += static_cast<std::size_t>(more);
  }
  return got;
}

}  // namespace

Result<> copy_content(const Span& from, const Span& to, std::uint64_t bytes) {
  const std::uint64_t end = from.offset + bytes;
  for (std::uint64_t at = from.offset; at < end;) {
    const auto extent = next_data(from.fd, at, end);
    if (!extent) return {};
    WEIR_CHECK_OK(send(from.fd, to.fd, *extent, to.offset + (extent->begin - from.offset)));
    at = extent->end;
  }
  return {};
}

Result<bool> same_content(const Span& one, const Span& other, std::uint64_t bytes) {
  std::vector<char> left(std::min(bytes, kChunk));
  std::vector<char> right(left.size());
  for (std::uint64_t done = 0; done < bytes;) {
    const std::size_t wanted = std::min<std::uint64_t>(left.size(), bytes - done);
    WEIR_TRY(const std::size_t here, read_at(one, done, left, wanted));
    WEIR_TRY(const std::size_t there, read_at(other, done, right, wanted));
    if (here != wanted || there != wanted || std::memcmp(left.data(), right.data(), wanted) != 0) return false;
    done += wanted;
  }
  return true;
}

}  // namespace weir::changes
