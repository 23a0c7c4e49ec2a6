#include "daemon/output.h"

#include "base/json.h"
#include "wire/session_error.h"

namespace weir::daemon {

namespace {

constexpr std::array<std::string_view, 2> kKeys = {"stdout", "stderr"};

std::string line_of(std::string_view key, std::string_view bytes) {
  std::string line = "{";
  append_output(line, key, bytes, Exactness::one_key);
  return line + "}\n";
}

}  // namespace

std::string object_without_end(const wire::ExitedProcess& exited) {
  JsonWriter json;
  wire::write_exited(json, exited);
  std::string text = json.take();
  text.pop_back();
  return text;
}

Reply collected_reply(const std::string& json, CollectedOutput output) {
  const std::size_t held = output.texts[0].size() + output.texts[1].size();
  while (true) {
    std::string whole = json;
    for (std::size_t which = 0; which < kKeys.size(); ++which) {
      append_output(whole, kKeys[which], output.texts[which], Exactness::both);
    }
    whole += std::string(",\"truncated\":") + (output.truncated ? "true" : "false") + "}";
    whole.shrink_to_fit();
    const bool is_empty = output.texts[0].empty() && output.texts[1].empty();
    // The texts go when this ends.
    if (is_empty || whole.size() <= held || output.memory->grow(whole.size() - held)) {
      Reply reply = json_reply(200, std::move(whole));
      reply.memory = std::move(output.memory);
      return reply;
    }
    output.truncated = true;
    for (std::string& text : output.texts) text.resize(text.size() / 2);
  }
}

Task<bool> EventStream::begin(std::uint32_t pid) {
  const bool begun = co_await exchange_.begin_stream(200, "application/x-ndjson");
  if (!begun || pid == 0) co_return begun;
  const bool sent = co_await exchange_.write("{\"started\":{\"pid\":" + std::to_string(pid) + "}}\n");
  co_return sent;
}

Task<bool> EventStream::chunk(std::size_t which, std::string_view bytes) {
  std::string text = std::move(unfinished_[which]);
  text += bytes;
  const std::size_t unfinished = unfinished_bytes(text);
  unfinished_[which] = text.substr(text.size() - unfinished);
  text.resize(text.size() - unfinished);
  if (text.empty()) co_return true;
  const bool sent = co_await exchange_.write(line_of(kKeys[which], text));
  co_return sent;
}

Task<bool> EventStream::last(std::string line) {
  std::string text;
  for (std::size_t which = 0; which < kKeys.size(); ++which) {
    if (!unfinished_[which].empty()) text += line_of(kKeys[which], unfinished_[which]);
  }
  const bool sent = co_await exchange_.write(text + line);
  if (!sent) co_return false;
  const bool ended = co_await exchange_.end_stream();
  co_return ended;
}

Task<bool> EventStream::end(wire::ExitedProcess exited) {
  return last("{\"exited\":" + object_without_end(exited) + "}}\n");
}

Task<bool> EventStream::fail(wire::Refusal refusal) {
  return last(wire::error_line(refusal));
}

}  // namespace weir::daemon
