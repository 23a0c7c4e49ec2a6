#include "daemon/collected_run.h"

#include <algorithm>

#include "daemon/output.h"

namespace weir::daemon {

namespace {

using What = AttachedRun::Happened::What;

// What is kept of one stream of a command.
class Collected {
 public:
  Collected(std::uint64_t most, Budget& memory) : most_(most), share_(memory) {}

  void take(std::string_view bytes) {
    const std::size_t kept = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), most_ - text_.size()));
    if (kept < bytes.size()) truncated_ = true;
    if (kept == 0) return;
    if (!share_.grow(kept)) {
      // Too much is being collected at once: what is more is dropped, and said so.
      truncated_ = true;
      most_ = text_.size();
      return;
    }
    text_.append(bytes.substr(0, kept));
  }
  const std::string& text() const { return text_; }
  bool truncated() const { return truncated_; }

 private:
  std::uint64_t most_;
  Budget::Share share_;
  std::string text_;
  bool truncated_ = false;
};

}  // namespace

Task<Outcome> collect(Daemon& daemon, AttachedRun run, std::uint64_t most) {
  Collected out(most, daemon.memory);
  Collected err(most, daemon.memory);
  while (true) {
    auto happened = co_await run.next();
    switch (happened.what) {
      case What::out:
        out.take(happened.bytes);
        break;
      case What::err:
        err.take(happened.bytes);
        break;
      case What::exited: {
        std::string json = object_without_end(happened.exited);
        append_output(json, "stdout", out.text(), Exactness::both);
        append_output(json, "stderr", err.text(), Exactness::both);
        json += std::string(",\"truncated\":") + (out.truncated() || err.truncated() ? "true" : "false") + "}";
        co_return json_reply(200, std::move(json));
      }
      case What::gone:
        co_return nobody_there();
      case What::failed:
        co_return std::unexpected(std::move(happened.refusal));
    }
  }
}

}  // namespace weir::daemon
