// Image::open() on hostile bytes: refused, or safe to ask anything, and to build upon. The first byte chooses the
// question; the rest is the image.
#include <cstring>

#include "policy/compiled/admit.h"
#include "policy/compiled/digest.h"
#include "policy/compiled/image.h"
#include "policy/compiled/source.h"
#include "policy/text/explain.h"
#include "policy/text/lint.h"
#include "policy/text/show.h"

namespace {

namespace policy = weir::policy;

void ask(const policy::Image& image, std::uint8_t question) {
  policy::HostFacts facts;
  facts.lan = {weir::net::Cidr::of(weir::net::IpAddress::v4({10, 0, 0, 0}), 24)};
  const auto name = weir::net::DomainName::parse((question & 1) != 0 ? "x.a.example" : "pypi.org");
  const weir::net::IpAddress address =
      (question & 2) != 0 ? weir::net::IpAddress::v4({93, 184, 215, 14}) : weir::net::IpAddress();
  const policy::NameCandidate candidate{.name = &*name, .aliases = {}};
  const policy::Request request{.protocol = (question & 4) != 0 ? weir::net::Protocol::udp : weir::net::Protocol::tcp,
                                .address = address,
                                .port = 443,
                                .names = std::span(&candidate, 1)};
  static_cast<void>(policy::judge_name(image, *name, 1));
  static_cast<void>(policy::judge_answer(image, facts, candidate, address));
  const policy::FirstFlight flight{.kind = policy::FlightKind::tls, .name = *name, .name_present = true, .ech = false};
  const policy::Verdict verdict = policy::admit_first_flight(image, facts, request, flight);
  static_cast<void>(image.entry_text(verdict.rule));
  const auto asked = policy::parse_explain_request((question & 8) != 0 ? "x.a.example:443" : "10.0.0.5:22");
  static_cast<void>(policy::explanation_text(policy::explain(image, facts, *asked)));
}

// As if weir had written it: what compilation checks is then the records themselves.
std::vector<std::uint8_t> with_right_sums(weir::Bytes bytes) {
  std::vector<std::uint8_t> out(bytes.begin(), bytes.end());
  policy::format::Header header;
  std::memcpy(&header, out.data(), sizeof(header));
  for (std::uint32_t i = 0; i < header.layers.count; ++i) {
    const std::size_t at = header.layers.offset + i * sizeof(policy::format::LayerRecord);
    policy::format::LayerRecord layer;
    std::memcpy(&layer, out.data() + at, sizeof(layer));
    layer.checksum = policy::checksum(weir::Bytes(out).subspan(layer.blob.offset, layer.blob.count));
    std::memcpy(out.data() + at, &layer, sizeof(layer));
  }
  const auto bytes_at = [&](std::size_t offset, std::size_t size) { return weir::Bytes(out).subspan(offset, size); };
  header.hash = policy::digest_of(header, bytes_at);
  std::memcpy(out.data(), &header, sizeof(header));
  return out;
}

void build_upon(weir::Bytes bytes, policy::CompileInput::Purpose purpose) {
  const std::vector<std::uint8_t> image = with_right_sums(bytes);
  policy::CompileInput input;
  input.session.compiled = policy::CompiledFile{.name = "p", .bytes = image};
  input.purpose = purpose;
  input.floor = policy::TextFile{.name = "f", .text = "version = 1\ndeny = [\"a.example\"]\n"};
  if (purpose == policy::CompileInput::Purpose::reading) input.session.deny = {"b.example"};
  const auto compiled = policy::compile_policy(input);
  if (!compiled) return;
  static_cast<void>(policy::show_text(*compiled));
  static_cast<void>(policy::lint(*compiled));
  if (!compiled->patch) return;
  const std::vector<std::uint8_t> grafted = policy::patched(image, *compiled->patch);
  ask(*policy::Image::open(grafted), 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const weir::Bytes bytes(data + 1, size - 1);
  const auto image = policy::Image::open(bytes);
  if (!image) return 0;
  ask(*image, data[0]);
  static_cast<void>(image->check_sums());
  const auto source = policy::read_back(*image, "p");
  if (source) static_cast<void>(policy::build_image(*source));
  build_upon(bytes,
             (data[0] & 16) != 0 ? policy::CompileInput::Purpose::reading : policy::CompileInput::Purpose::running);
  return 0;
}
