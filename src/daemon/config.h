// What weir-serve is started with.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "daemon/daemon.h"
#include "daemon/request_log.h"
#include "net/ip_address.h"

namespace weir::daemon {

struct Config {
  std::string socket = {};  // empty: the default, unless there is something else to listen on
  std::optional<net::Endpoint> listen = {};
  std::string token_file = {};
  std::string tls_cert = {};
  std::string tls_key = {};
  Limits limits = {};
  unsigned grace_seconds = 10;
  LogForm log = LogForm::text;
};

// `words`: "--option=value", as `weir serve` hands them on. An address that others can reach needs tokens and TLS; what
// has no tokens listens nowhere but on the unix socket.
Result<Config> parse_config(std::span<const std::string> words);

// Whether others than this machine can reach it.
bool is_off_loopback(const net::IpAddress& address);

}  // namespace weir::daemon
