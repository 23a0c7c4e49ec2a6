// Image::open() on hostile bytes: refused, or safe to ask anything. The first byte chooses the question; the rest is
// the image.
#include "policy/compiled/admit.h"
#include "policy/compiled/image.h"
#include "policy/compiled/source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace policy = weir::policy;
  if (size == 0) return 0;
  const auto image = policy::Image::open({data + 1, size - 1});
  if (!image) return 0;
  policy::HostFacts facts;
  facts.lan = {weir::net::Cidr::of(weir::net::IpAddress::v4({10, 0, 0, 0}), 24)};
  const auto name = weir::net::DomainName::parse((data[0] & 1) != 0 ? "x.a.example" : "pypi.org");
  const weir::net::IpAddress address =
      (data[0] & 2) != 0 ? weir::net::IpAddress::v4({93, 184, 215, 14}) : weir::net::IpAddress();
  const policy::NameCandidate candidate{.name = &*name, .aliases = {}};
  const policy::Request request{.protocol = (data[0] & 4) != 0 ? weir::net::Protocol::udp : weir::net::Protocol::tcp,
                                .address = address,
                                .port = 443,
                                .names = std::span(&candidate, 1)};
  static_cast<void>(policy::judge_name(*image, *name, 1));
  static_cast<void>(policy::judge_answer(*image, facts, candidate, address));
  const policy::FirstFlight flight{.kind = policy::FlightKind::tls, .name = *name, .name_present = true, .ech = false};
  const policy::Verdict verdict = policy::admit_first_flight(*image, facts, request, flight);
  static_cast<void>(image->entry_text(verdict.rule));
  static_cast<void>(image->check_sums());
  static_cast<void>(policy::read_back(*image, "p"));
  return 0;
}
