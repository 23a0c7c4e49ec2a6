// A client of `weir serve` on its unix socket: HTTP/1.1, one connection that stays, blocking.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tool.h"

namespace weir::bench {

class Api {
 public:
  using Receiver = std::function<void(std::string_view)>;

  explicit Api(const std::string& socket);

  struct Reply {
    int status = 0;
    std::string body;
  };
  // Ends the program where the connection does not hold.
  Reply ask(std::string_view method, const std::string& target, std::string_view body = {});
  // The same; the body goes to `take`, piece by piece, as it comes.
  Reply ask(std::string_view method, const std::string& target, std::string_view body, const Receiver& take);
  // A file as the body, by sendfile().
  Reply put_file(const std::string& target, const std::string& path);

  // A session of that body; its id. Ends the program, with the answer, where it is refused.
  std::string make_session(const std::string& body);
  void end_session(const std::string& id);

 private:
  void send(std::string_view bytes);
  void begin(std::string_view method, const std::string& target, std::uint64_t length);
  Reply receive(const Receiver& take);
  void receive_chunks(const Receiver& take);
  std::string line();
  // At most `most` of what is there, waiting for one byte at least. The view lives until the next call.
  std::string_view some(std::uint64_t most);

  sys::OwnedFd socket_;
  std::string buffer_;
  std::size_t used_ = 0;  // of what is in buffer_
  std::size_t filled_ = 0;
};

}  // namespace weir::bench
