#include "library/words.h"

#include <utility>

namespace weir::library {

std::string_view name_of(Mode mode) {
  switch (mode) {
    case Mode::None:
      return "none";
    case Mode::Inbound:
      return "inbound";
    case Mode::Allowlist:
      return "allowlist";
    case Mode::Public:
      return "public";
    case Mode::Semitrusted:
      return "semitrusted";
    case Mode::Open:
      return "open";
  }
  return "none";
}

std::string_view suffix_of(Share share) {
  switch (share) {
    case Share::ReadWrite:
      return "";
    case Share::ReadOnly:
      return ":ro";
    case Share::Copy:
      return ":copy";
    case Share::Overlay:
      return ":overlay";
  }
  return ":ro";
}

std::unexpected<Failure> failed(const wire::Refusal& refusal) {
  return failed(refusal.code, refusal.message, refusal.remedy);
}

std::unexpected<Failure> failed(const Error& error) {
  return failed(wire::ErrorCode::internal, error.what(), error.remedy());
}

std::unexpected<Failure> failed(wire::ErrorCode code, std::string message, std::string remedy) {
  return std::unexpected(
      Failure{.code = std::string(wire::name_of(code)), .message = std::move(message), .remedy = std::move(remedy)});
}

}  // namespace weir::library
