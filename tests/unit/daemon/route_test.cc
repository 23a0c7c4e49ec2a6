#include "daemon/route.h"

#include <gtest/gtest.h>

#include <set>

#include "daemon/handlers.h"

namespace weir::daemon {
namespace {

using wire::ErrorCode;

const Principal kNobody{};
const Principal kOwner = machine_owner();
const Principal kLooks{.kind = Principal::Kind::token, .name = "ro", .rights = Principal::Rights::look};
const Principal kChanges{.kind = Principal::Kind::token, .name = "rw", .rights = Principal::Rights::change};

std::string code_of(const wire::Answer<>& answer) {
  return answer ? "" : std::string(wire::name_of(answer.error().code));
}

TEST(Routes, EachFindsItself) {
  for (const Row& row : routes()) {
    std::string path(row.pattern);
    for (const auto& [from, to] :
         {std::pair("{id}", "w-00000001"), std::pair("{name}", "n"), std::pair("{image}", "debian:12"),
          std::pair("{pid}", "7"), std::pair("{path...}", "a/b")}) {
      if (const auto at = path.find(from); at != std::string::npos) path.replace(at, std::string_view(from).size(), to);
    }
    const auto route = find_route(row.method, path);
    ASSERT_TRUE(route) << path;
    EXPECT_EQ(route->row->endpoint, row.endpoint) << path;
  }
}

TEST(Routes, ParametersAreDecodedAndJudged) {
  const auto file = find_route("GET", "/v1/sessions/w-1/files/a%2Fb/%C3%A4");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->parameters, (std::vector<std::string>{"w-1", "a/b/\u00e4"}));
  const auto code = [](std::string_view method, std::string_view path) {
    return find_route(method, path).error().code;
  };
  for (const char* path : {"/", "/v1", "/v1/sessions/", "/v1/sessions//run", "/v1/sessions/a/run/", "/v1/sessions/..",
                           "/v1/sessions/a%2Fb", "/v1/sessions/%2e%2e", "/v1/sessions/w/processes/0/output",
                           "/v1/sessions/w/processes/x/output", "/v1/sessions/w/processes/99999999/output",
                           "/v1/sessions/w/files/", "/v2/sessions"}) {
    EXPECT_EQ(code("GET", path), ErrorCode::not_found) << path;
  }
  for (const char* path :
       {"/v1/sessions/w/files/%", "/v1/sessions/w/files/%zz", "/v1/sessions/w/files/%00", "/v1/sessions/w/files/%ff"}) {
    EXPECT_EQ(code("GET", path), ErrorCode::bad_request) << path;
  }
  EXPECT_EQ(code("PATCH", "/v1/sessions"), ErrorCode::method_not_allowed);
  EXPECT_EQ(code("get", "/v1/sessions"), ErrorCode::method_not_allowed);
  EXPECT_EQ(allowed_methods("/v1/sessions"), "POST, GET");
}

// Who may what, over every endpoint: what changes something is not for who may look, and the machine's own is for its
// owner. A new row has to be put down here.
TEST(Routes, RightsOfEveryEndpoint) {
  const std::set<std::string_view> open = {"health", "openapi"};
  const std::set<std::string_view> owners = {"image_import", "image_delete", "metrics"};
  const std::set<std::string_view> look = {"session_list",  "session_show",    "process_list", "process_output",
                                           "file_list",     "file_get",        "events",       "snapshot_list",
                                           "snapshot_show", "snapshot_export", "image_list",   "image_show",
                                           "service_list",  "service_show",    "service_logs"};
  for (const Row& row : routes()) {
    const std::string_view name = name_of(row.endpoint);
    EXPECT_EQ(code_of(check_rights(row, kOwner)), "") << name;
    EXPECT_EQ(code_of(check_rights(row, kNobody)), open.contains(name) ? "" : "unauthorized") << name;
    const bool looks = open.contains(name) || look.contains(name);
    EXPECT_EQ(code_of(check_rights(row, kLooks)), looks                   ? ""
                                                  : owners.contains(name) ? "forbidden"
                                                                          : "read_only")
        << name;
    EXPECT_EQ(code_of(check_rights(row, kChanges)), owners.contains(name) ? "forbidden" : "") << name;
  }
}

TEST(Routes, Queries) {
  const auto checked = [](std::string_view method, const std::string& text) {
    const auto target = parse_target(text);
    const auto route = find_route(method, target->path);
    return code_of(check_query(*route->row, *target));
  };
  EXPECT_EQ(checked("GET", "/v1/sessions?label=a%3Db&label=c=d"), "");
  EXPECT_EQ(checked("GET", "/v1/sessions?token=x"), "bad_request");
  EXPECT_EQ(checked("GET", "/v1/sessions/w/events?follow=1"), "");
  EXPECT_EQ(checked("GET", "/v1/sessions/w/events?follow=yes"), "bad_request");
  EXPECT_EQ(checked("GET", "/v1/sessions/w/events?follow=1&follow=0"), "bad_request");
  EXPECT_EQ(checked("GET", "/v1/sessions/w?follow=1"), "bad_request");
}

TEST(Targets, AreTakenApartOnce) {
  const auto target = parse_target("/a?x=1&&y=%20+z&w");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/a");
  EXPECT_EQ(parameter(*target, "y"), " +z");
  EXPECT_EQ(parameter(*target, "w"), "");
  for (const char* text : {"", "*", "a", "http://x/", "/a?x=%", "/a?x=%00", "/a#b", "/a?%ff=1"}) {
    EXPECT_FALSE(parse_target(text)) << text;
  }
  EXPECT_EQ(parse_target(std::string(20000, '/')).error().code, ErrorCode::too_large);
}

}  // namespace
}  // namespace weir::daemon
