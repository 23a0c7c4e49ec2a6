// A policy file of any bytes compiles to an image that opens, or is an error of one line; and nothing that reads a
// compiled policy trips over it.
#include <cstdlib>

#include "policy/text/cases.h"
#include "policy/text/compile.h"
#include "policy/text/explain.h"
#include "policy/text/lint.h"
#include "policy/text/show.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace policy = weir::policy;
  const std::string text(weir::as_text({data, size}));
  policy::CompileInput input;
  input.session.file = policy::TextFile{.name = "p.toml", .text = text};
  const auto compiled = policy::compile_policy(input);
  input.floor = policy::TextFile{.name = "floor.toml", .text = text};
  input.session = {};
  input.session.mode = "public";
  static_cast<void>(policy::compile_policy(input));
  static_cast<void>(policy::parse_cases(text, "cases.txt"));
  if (!compiled) return 0;
  static_cast<void>(policy::show_text(*compiled));
  static_cast<void>(policy::show_json(*compiled));
  static_cast<void>(policy::lint(*compiled));
  if (compiled->image.empty()) return 0;
  const auto image = policy::Image::open(compiled->image);
  if (!image) std::abort();
  for (const char* asked : {"example.com:443", "10.0.0.5:22", "udp://[2606:4700::1]:53"}) {
    const auto request = policy::parse_explain_request(asked);
    if (!request) std::abort();
    static_cast<void>(policy::explain(*image, {}, *request));
  }
  return 0;
}
