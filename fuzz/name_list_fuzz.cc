// A list of any bytes, in every format: read in bounds, each valid name found again by its own hash; and the policy
// made of it opens. The first byte chooses the format.
#include <cstdlib>

#include "policy/compiled/source.h"
#include "policy/text/compile.h"
#include "policy/text/name_list.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace policy = weir::policy;
  if (size == 0) return 0;
  const char* const specs[] = {"l", "names:l", "hosts:l", "adguard:l", "rpz:l"};
  const std::string text(weir::as_text({data + 1, size - 1}));
  policy::CompileInput input;
  input.session.mode = "public";
  input.session.deny_lists = {specs[data[0] % 5]};
  input.read_list = [&text](const std::string&) -> weir::Result<std::string> { return text; };
  input.invalid_lines = policy::InvalidLines::skipped;
  const auto compiled = policy::compile_policy(input);
  if (!compiled) return 0;
  const auto image = policy::Image::open(compiled->image);
  if (!image || !image->check_sums()) std::abort();
  const auto source = policy::read_back(*image, "p");
  if (!source || *policy::build_image(*source) != compiled->image) std::abort();
  return 0;
}
