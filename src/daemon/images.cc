// Images: `weir image`, for all to see and for the machine's owner to change.
#include <limits>

#include "base/json_document.h"
#include "daemon/command.h"
#include "daemon/handlers.h"
#include "daemon/streamed_command.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

constexpr unsigned kSeconds = 60;
constexpr unsigned kImportSeconds = 1800;

Task<wire::Answer<Json>> all_images(Daemon& daemon, const Principal& who) {
  auto ended = co_await run_command(daemon, who, {.words = {"image", "ls", "--output=json"}}, kSeconds);
  WEIR_CO_CHECK(ended);
  if (ended->exit_code != 0) co_return std::unexpected(refusal_of(*ended));
  auto document = parse_json(ended->out);
  if (!document || !document->is_array()) co_return refuse(ErrorCode::internal, "weir image ls says nonsense");
  co_return std::move(*document);
}

}  // namespace

Task<Outcome> list_images(Call& call, std::string) {
  auto all = co_await all_images(call.daemon, call.who);
  WEIR_CO_CHECK(all);
  co_return json_reply(200, "{\"images\":" + all->dump() + "}");
}

Task<Outcome> show_image(Call& call, std::string) {
  auto all = co_await all_images(call.daemon, call.who);
  WEIR_CO_CHECK(all);
  for (const Json& image : *all) {
    const Json* const name = json_member(image, "name");
    if (name != nullptr && *name == call.parameter(0)) co_return json_reply(200, image.dump());
  }
  co_return refuse(ErrorCode::image_not_found, "there is no image " + call.parameter(0));
}

Task<Outcome> import_image(Call& call, std::string) {
  auto spooled = co_await spool_body(call, std::numeric_limits<std::uint64_t>::max());
  WEIR_CO_CHECK(spooled);
  Command command{.words = {"image", "import", "--output=json", "--", spooled->path(), call.parameter(0)},
                  .kind = Command::Kind::transfer};
  auto ended = co_await run_command(call.daemon, call.who, std::move(command), kImportSeconds);
  WEIR_CO_CHECK(ended);
  if (ended->exit_code == 0) co_return json_reply(201, ended->out);
  co_return std::unexpected(refusal_of_archive(*ended));
}

Task<Outcome> delete_image(Call& call, std::string) {
  const auto there = co_await show_image(call, "");
  WEIR_CO_CHECK(there);
  auto ended = co_await run_command(call.daemon, call.who,
                                    {.words = {"image", "rm", "--output=json", "--", call.parameter(0)}}, kSeconds);
  WEIR_CO_CHECK(ended);
  if (ended->exit_code != 0) co_return std::unexpected(refusal_of(*ended));
  co_return no_content();
}

}  // namespace weir::daemon
