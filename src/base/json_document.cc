#include "base/json_document.h"

#include <set>
#include <string>
#include <vector>

#include "base/failure_line.h"

namespace weir {

namespace {

constexpr int kMaxNesting = 32;  // the deepest document that is read has six
constexpr std::size_t kShownKey = 60;

}  // namespace

Result<Json> parse_json(std::string_view text) {
  std::vector<std::set<std::string>> keys;
  std::string problem;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMaxNesting) problem = "nested too deeply";
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
      problem = "the key '" + printable(value.get<std::string>().substr(0, kShownKey)) + "' twice";
    return problem.empty();
  };
  // With a problem the library goes on and keeps nothing of the rest.
  Json document = Json::parse(text, watch, false);
  if (!problem.empty()) return fail(std::move(problem));
  if (document.is_discarded()) return fail("not JSON");
  return document;
}

const Json* json_member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

}  // namespace weir
