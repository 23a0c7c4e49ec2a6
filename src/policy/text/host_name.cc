// Unicode names to A-labels. The only file that knows libidn2.
#include <idn2.h>

#include <algorithm>

#include "policy/text/target.h"

namespace weir::policy {

Result<net::DomainName> parse_host_name(std::string_view text) {
  const bool ascii = std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (ascii) return net::DomainName::parse(text);
  const std::string input(text);
  if (input.find('\0') != std::string::npos) return fail("a host name cannot contain a zero byte");
  char* output = nullptr;
  const int status = idn2_to_ascii_8z(input.c_str(), &output, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (status != IDN2_OK) {
    return fail("'" + input + "' is not an internationalised host name: " + idn2_strerror(status));
  }
  const std::string a_labels(output);
  idn2_free(output);
  return net::DomainName::parse(a_labels);
}

}  // namespace weir::policy
