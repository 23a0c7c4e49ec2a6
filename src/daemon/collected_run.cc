#include "daemon/collected_run.h"

#include <algorithm>

#include "daemon/output.h"

namespace weir::daemon {

namespace {

using What = AttachedRun::Happened::What;

void take(CollectedOutput& output, std::size_t which, std::string_view bytes, std::uint64_t& most) {
  std::string& text = output.texts[which];
  const std::size_t kept = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), most - text.size()));
  if (kept < bytes.size()) output.truncated = true;
  if (kept == 0) return;
  if (output.memory->grow(kept)) {
    text.append(bytes.substr(0, kept));
    return;
  }
  // Too much is being collected at once: what is more is dropped, and said so.
  output.truncated = true;
  most = text.size();
}

}  // namespace

Task<Outcome> collect(Call& call, AttachedRun run, std::uint64_t most) {
  CollectedOutput output{.memory = std::make_shared<Budget::Share>(call.daemon.memory, owner_key(call.who))};
  std::array<std::uint64_t, 2> most_of = {most, most};
  while (true) {
    auto happened = co_await run.next();
    switch (happened.what) {
      case What::out:
        take(output, 0, happened.bytes, most_of[0]);
        break;
      case What::err:
        take(output, 1, happened.bytes, most_of[1]);
        break;
      case What::exited:
        co_return collected_reply(object_without_end(happened.exited), std::move(output));
      case What::gone:
        co_return nobody_there();
      case What::failed:
        co_return std::unexpected(std::move(happened.refusal));
    }
  }
}

}  // namespace weir::daemon
