#include "wire/control_request.h"

#include <array>

#include "base/failure_line.h"
#include "base/json.h"
#include "base/json_document.h"

namespace weir::wire {

namespace {

using Op = ControlRequest::Op;

struct OpName {
  Op op;
  std::string_view name;
};
constexpr std::array kOps = {OpName{Op::show, "show"}, OpName{Op::narrow, "narrow"}};

std::unexpected<Error> wrong(const std::string& what) {
  return std::unexpected(Error("the request is wrong: " + what)
                             .with_remedy("write one line such as {\"op\": \"narrow\", \"network_mode\": \"none\"}"));
}

std::string quoted(const std::string& key) {
  return "'" + printable(key.substr(0, 60)) + "'";
}

Result<std::string> text_of(const std::string& key, const Json& value) {
  if (!value.is_string()) return wrong(quoted(key) + " is no text");
  auto text = value.get<std::string>();
  if (text.find('\0') != std::string::npos) return wrong("a NUL character in " + quoted(key));
  return text;
}

Result<std::vector<std::string>> texts_of(const std::string& key, const Json& value) {
  if (!value.is_array()) return wrong(quoted(key) + " is no list");
  if (value.size() > ControlRequest::kMaxItems) return wrong(quoted(key) + " is too long");
  std::vector<std::string> texts;
  for (const Json& item : value) {
    WEIR_TRY(texts.emplace_back(), text_of(key, item));
  }
  return texts;
}

Result<Op> op_of(const Json& object) {
  const auto found = object.find("op");
  if (found == object.end()) return wrong("no 'op'");
  WEIR_TRY(const std::string text, text_of("op", *found));
  for (const OpName& each : kOps) {
    if (each.name == text) return each.op;
  }
  return wrong("'op' is " + quoted(text) + "; there are show and narrow");
}

// False: no such key.
Result<bool> take(ControlRequest& request, const std::string& key, const Json& value) {
  if (key == "policy") {
    WEIR_TRY(request.policy, text_of(key, value));
  } else if (key == "network_mode" || key == "network") {
    if (!request.network_mode.empty()) return wrong("the mode twice");
    WEIR_TRY(request.network_mode, text_of(key, value));
    if (request.network_mode.empty()) return wrong("the mode is empty");
  } else if (key == "network_allowlist") {
    WEIR_TRY(request.network_allowlist, texts_of(key, value));
  } else if (key == "network_denylist") {
    WEIR_TRY(request.network_denylist, texts_of(key, value));
  } else if (key == "insist") {
    WEIR_TRY(request.insist, texts_of(key, value));
  } else {
    return false;
  }
  return true;
}

void write_list(JsonWriter& json, std::string_view key, const std::vector<std::string>& items) {
  json.key(key).begin_array();
  for (const std::string& item : items) json.value(std::string_view(item));
  json.end_array();
}

std::string_view name_of(Op op) {
  return kOps[static_cast<std::size_t>(op)].name;
}

}  // namespace

Result<ControlRequest> parse_control_request(std::string_view line) {
  if (line.size() >= ControlRequest::kMaxLine) return wrong("longer than 1 MiB");
  const Result<Json> document = parse_json(line);
  if (!document) return wrong(document.error().what());
  if (!document->is_object()) return wrong("no object");
  ControlRequest request;
  WEIR_TRY(request.op, op_of(*document));
  bool says_something = false;
  for (const auto& [key, value] : document->items()) {
    if (key == "op") continue;
    if (request.op != Op::narrow) return wrong(quoted(key) + " says nothing for " + std::string(name_of(request.op)));
    WEIR_TRY(const bool known, take(request, key, value));
    if (!known) return wrong("no key " + quoted(key));
    says_something = true;
  }
  // An empty policy allows nothing: whoever means that writes it.
  if (request.op == Op::narrow && !says_something) return wrong("no policy");
  return request;
}

std::string control_reply_line(const ControlReply& reply) {
  JsonWriter json;
  json.begin_object();
  if (reply.refused) {
    json.key("error").begin_object();
    json.field("code", std::string_view(reply.refused->code));
    json.field("message", std::string_view(reply.refused->message));
    json.field("remedy", std::string_view(reply.refused->remedy));
    json.end_object();
  } else {
    json.field("generation", reply.generation).field("policy", std::string_view(reply.policy));
    json.field("cut", reply.cut);
    write_list(json, "warnings", reply.warnings);
  }
  json.end_object();
  return json.take() + '\n';
}

}  // namespace weir::wire
