// One connection of HTTP/1.1: requests one after the other, each read and answered before the next.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/asio.h"
#include "daemon/budget.h"
#include "daemon/http_reader.h"
#include "daemon/pace.h"
#include "daemon/reply.h"
#include "daemon/waiter.h"
#include "sys/owned_fd.h"

namespace weir::daemon {

using Headers = std::vector<std::pair<std::string, std::string>>;

class Exchange {
 public:
  static constexpr unsigned kHeadSeconds = 10;   // for a head, from its first byte
  static constexpr unsigned kIdleSeconds = 60;   // between two requests
  static constexpr unsigned kStallSeconds = 30;  // without a byte of a body, or of an answer that is taken

  // A connected stream socket, non-blocking.
  Exchange(const Executor& executor, sys::OwnedFd socket)
      : executor_(executor), socket_(std::move(socket)), waiter_(std::make_unique<Waiter>(executor, socket_.get())) {}

  // False: nobody asks any more. Errors are to be answered; then it is over.
  Task<wire::Answer<bool>> read_head();
  const RequestHead& head() const { return head_; }

  // Bytes of the body, as many as there are; 0: that was all of it.
  Task<wire::Answer<std::size_t>> read_body(MutableBytes into);
  // All of it, at a pace. `share` holds its memory.
  Task<wire::Answer<std::string>> whole_body(std::size_t limit, Budget::Share& share);

  // Each is false where the peer has gone, or does not take it: then it is over.
  Task<bool> send(const Reply& reply);
  // A body whose length is not known before, in chunks.
  Task<bool> begin_stream(unsigned status, std::string type, Headers headers = {});
  Task<bool> write(std::string_view bytes);
  // Without it the peer sees that the answer is not whole.
  Task<bool> end_stream();
  // From here on the peer has to take the answer at a pace: others wait for what is held for it.
  void keep_pace() { pace_ = Pace(); }
  // A body out of a file that is open, from its beginning.
  Task<bool> send_file(int file, std::uint64_t bytes, std::string type, Headers headers);

  // For Watch: EPOLLRDHUP says that the peer has gone.
  int fd() const { return socket_.get(); }
  const Executor& executor() const { return executor_; }
  // Whether another request can follow.
  bool can_go_on() const { return !broken_ && head_.keep_alive && body_done_; }
  bool has_begun() const { return begun_; }
  std::uint64_t bytes_sent() const { return sent_; }
  // Lets the peer read what was sent before it learns that nobody listens (RFC 9112 9.6).
  Task<> close();
  // Another protocol from here on: the socket, and what was read of it beyond the head.
  std::pair<sys::OwnedFd, std::string> take_over();

 private:
  Task<wire::Answer<std::size_t>> receive(Deadline deadline);
  Task<wire::Answer<std::size_t>> read_chunked(MutableBytes into);
  Task<bool> send_all(std::string_view bytes);
  Task<bool> wait_for_reader();
  std::string head_text(unsigned status, std::string_view type, const Headers& headers, std::string_view framing);

  Executor executor_;
  sys::OwnedFd socket_;
  std::unique_ptr<Waiter> waiter_;
  HttpReader reader_;
  RequestHead head_;
  std::string pending_;  // received and not yet used
  std::uint64_t body_left_ = 0;
  bool body_done_ = true;
  bool begun_ = false;  // an answer
  bool broken_ = false;
  std::optional<Pace> pace_ = {};  // of this answer
  Pace::Duration patience_ = {};   // for what comes next of this body
  std::uint64_t sent_ = 0;
};

}  // namespace weir::daemon
