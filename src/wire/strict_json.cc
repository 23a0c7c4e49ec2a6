#include "wire/strict_json.h"

#include <set>
#include <string>
#include <vector>

#include "base/failure_line.h"

namespace weir::wire {

Result<Json> parse_strict_json(std::string_view text) {
  constexpr int kMaxNesting = 32;  // the deepest document that is read has six
  std::vector<std::set<std::string>> keys;
  std::string problem;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMaxNesting) problem = "nested too deeply";
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
      problem = "the key '" + printable(value.get<std::string>().substr(0, 60)) + "' twice";
    return problem.empty();
  };
  // With a problem the library goes on and keeps nothing of the rest.
  Json document = Json::parse(text, watch, false);
  if (!problem.empty()) return fail(problem);
  if (document.is_discarded()) return fail("not JSON");
  return document;
}

}  // namespace weir::wire
