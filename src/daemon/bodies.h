// What bodies ask for: JSON of docs/openapi.yaml, checked, as words of `weir` and as requests to sessions.
//
// Nothing of a body becomes an option: values stand behind '=' in the same word, and what is secret or long is handed
// over in files. No shell reads any of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/principal.h"
#include "wire/session_error.h"
#include "wire/session_request.h"

namespace weir::daemon {

// `weir session create WORDS`. What is empty of the texts behind them is not handed over; the words name them as
// descriptors that the program inherits.
struct CreateWords {
  static constexpr int kEnvFileFd = 3;
  static constexpr int kPolicyFd = 4;
  static constexpr int kBootstrapFd = 5;
  std::vector<std::string> words = {};
  std::string env_file = {};
  std::string policy = {};
  std::string bootstrap = {};
};

enum class Making : std::uint8_t { session, service };
// Of POST /v1/sessions and POST /v1/services. A token is `forbidden` what reaches past its sandboxes into the machine:
// proxies, policy files, the operator's floor, ports that are not on 127.0.0.1 or below 1024.
wire::Answer<CreateWords> parse_create(std::string_view body, Making making, const Principal& who);

struct RunBody {
  static constexpr std::uint64_t kDefaultOutput = 8u << 20;
  static constexpr std::uint64_t kMaxOutput = 64u << 20;
  wire::RunProcess run = {};
  std::string stdin_text = {};
  bool stream = false;
  std::uint64_t max_output = kDefaultOutput;  // bytes of each of the two
};
wire::Answer<RunBody> parse_run(std::string_view body);

struct ExecuteBody {
  CreateWords create = {};
  RunBody run = {};  // without its argv
  std::string language = {};
  std::string code = {};
  std::vector<std::pair<std::string, std::string>> files = {};  // relative paths, nothing of ".." in them
};
wire::Answer<ExecuteBody> parse_execute(std::string_view body, const Principal& who);

// {"signal": "TERM"} as a number.
wire::Answer<int> parse_signal(std::string_view body);
wire::Answer<wire::ControlRequest> parse_narrow(std::string_view body, const Principal& who);

struct SnapshotBody {
  std::string session = {};
  wire::MakeSnapshot snapshot = {};
};
wire::Answer<SnapshotBody> parse_snapshot(std::string_view body);

}  // namespace weir::daemon
