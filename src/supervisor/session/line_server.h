// A socket in the file system to which this user's programs say lines, with descriptors, and are answered with lines.
//
// Everything is bounded: how many are connected at a time, how long a line is, how long the first may take to come.
// What the lines mean is the owner's business.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "sys/line_stream.h"
#include "sys/reactor.h"
#include "sys/unix_listener.h"

namespace weir::supervisor {

class LineServer {
 public:
  using ClientId = std::uint64_t;                          // never 0, never reused
  static constexpr std::uint64_t kPatienceMs = 10'000;     // from the connection to the end of its first line
  static constexpr std::uint64_t kReadPatienceMs = 5'000;  // for who reads the rest of a long last line
  static constexpr std::uint64_t kAcceptAgainMs = 50;      // out of descriptors

  struct Bounds {
    std::size_t max_clients = 0;
    std::size_t max_line = 0;  // its newline included
  };
  // Why a client is sent away before it has said anything that could be understood.
  enum class Trouble : std::uint8_t { another_user, too_many, too_late, no_end, too_large };

  class Owner {
   public:
    virtual ~Owner() = default;
    // It stays connected until finish() or drop(). `number`: 1 for its first line.
    virtual void on_line(ClientId client, std::uint64_t number, sys::LineStream::Line line) = 0;
    // It will say nothing more, or is gone; who only shut down its side still reads. Once; finish() or drop() is to
    // follow, now or later. Not called for who was finished, dropped or sent away.
    virtual void on_end(ClientId client) = 0;
    // The line, newline included, that says so.
    virtual std::string line_of(Trouble trouble) = 0;
    // The last client is gone, or the first is there.
    virtual void on_clients_changed() {}
  };

  // Nothing is accepted before the event loop runs. Its name is removed when it goes. The owner outlives it.
  static Result<std::unique_ptr<LineServer>> serve(sys::Reactor& reactor, sys::UnixListener listener, Bounds bounds,
                                                   Owner& owner);
  ~LineServer();
  LineServer(const LineServer&) = delete;
  LineServer& operator=(const LineServer&) = delete;

  bool has(ClientId client) const { return clients_.contains(client); }
  // More than what was handed over has come.
  bool has_more(ClientId client) const;
  // A line and the client stays. One that does not read is dropped, and on_end() says so later. Harmless for one that
  // is gone. `passed` are duplicated.
  void send(ClientId client, std::string_view line, std::span<const int> passed = {});
  // The last line; then the client is dropped: as soon as it has taken it, or has not within kReadPatienceMs.
  void finish(ClientId client, std::string_view line, std::span<const int> passed = {});
  void drop(ClientId client);
  std::size_t clients() const { return clients_.size(); }

  // Nobody can connect from here on. True: and nobody is connected. False: somebody is, or was about to be;
  // open_again() is to follow.
  bool shut();
  Result<> open_again();

 private:
  struct Client;
  LineServer(sys::Reactor& reactor, sys::UnixListener listener, Bounds bounds, Owner& owner);
  // False: nobody waits for it.
  bool accept();
  void pause();
  void read(ClientId id);
  void hand_over(ClientId id);
  void ended(ClientId id);
  void send_away(ClientId id, Trouble trouble);
  void send_rest(ClientId client);
  void part(ClientId client);

  sys::Reactor& reactor_;
  sys::UnixListener listener_;
  Bounds bounds_;
  Owner& owner_;
  sys::CallbackHandler on_connection_;
  sys::Reactor::TimerId resume_ = 0;
  ClientId last_client_ = 0;
  std::unordered_map<ClientId, std::unique_ptr<Client>> clients_;
};

}  // namespace weir::supervisor
