// Any bytes as what an upstream proxy says: in one piece or byte by byte it comes to the same, takes the same bytes and
// says no more than its bounds.
#include "base/error.h"
#include "wire/tunnel_client.h"

namespace {

using namespace weir;
using wire::TunnelClient;

struct Heard {
  TunnelClient::State state = TunnelClient::State::talking;
  std::size_t used = 0;
  std::string output;
};

Heard talk(TunnelClient::Kind kind, std::string_view credentials, Bytes said, std::size_t piece) {
  TunnelClient client(kind, *wire::parse_authority("a.example:443"), credentials);
  Heard result;
  for (std::size_t turn = 0; turn < 2 * said.size() + 8; ++turn) {
    result.output += client.take_output();
    const Bytes rest = said.subspan(result.used);
    const std::size_t taken = client.feed(rest.first(std::min(piece, rest.size())));
    WEIR_ASSERT(taken <= rest.size());
    result.used += taken;
  }
  result.state = client.state();
  WEIR_ASSERT(result.used <= TunnelClient::kMaxBytes && result.output.size() < 1024);
  WEIR_ASSERT(client.said().size() < 64);
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto kind = (data[0] & 1) != 0 ? TunnelClient::Kind::http : TunnelClient::Kind::socks;
  const std::string_view credentials = (data[0] & 2) != 0 ? "user:password" : "";
  const Bytes said(data + 1, size - 1);
  const Heard whole = talk(kind, credentials, said, said.size());
  const Heard slow = talk(kind, credentials, said, 1);
  WEIR_ASSERT(whole.state == slow.state && whole.used == slow.used && whole.output == slow.output);
  return 0;
}
