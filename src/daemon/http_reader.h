// The head of a request and the framing of its body, from bytes to values: Boost.Beast's parser, and nothing read by
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "wire/session_error.h"

namespace weir::daemon {

struct RequestHead {
  std::string method;
  std::string target;
  std::string authorization;
  std::string content_type;  // without parameters, lower case
  std::string accept;
  std::string idempotency_key;
  bool expects_continue = false;
  bool keep_alive = false;
  bool is_upgrade = false;  // to a WebSocket
  std::string websocket_key;
  std::string websocket_version;
  bool is_old = false;                          // HTTP/1.0, which knows no chunks
  std::optional<std::uint64_t> content_length;  // nothing where the body is chunked
  bool has_body = false;
};

class HttpReader {
 public:
  static constexpr std::uint32_t kMaxHead = 65536;

  HttpReader();
  ~HttpReader();
  HttpReader(HttpReader&&) noexcept;
  HttpReader& operator=(HttpReader&&) noexcept;

  // Takes bytes of the head and says how many were its; the head is there when it takes fewer than all or is_head().
  // Errors: `bad_request`, `too_large`.
  wire::Answer<std::size_t> take_head(std::string_view bytes);
  bool is_head() const;
  RequestHead head() const;

  // Of a chunked body: decodes what is in `bytes` into `out`. `used`: bytes of `bytes`; `made`: bytes in `out`. At the
  // end of the body is_done().
  struct Step {
    std::size_t used = 0;
    std::size_t made = 0;
  };
  wire::Answer<Step> take_body(std::string_view bytes, MutableBytes out);
  bool is_done() const;

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace weir::daemon
