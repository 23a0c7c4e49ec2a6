#include "supervisor/session/run_policy.h"

#include "policy/text/compile.h"
#include "supervisor/policy/generations.h"

namespace weir::supervisor {

namespace {

using wire::ErrorCode;

ErrorCode code_of(const Error& error) {
  if (policy::is_cannot_widen(error)) return ErrorCode::cannot_widen;
  return error.code() == 0 ? ErrorCode::bad_policy : ErrorCode::internal;
}

Result<RunPolicy> policy_of(policy::Narrowed narrowed, const policy::Narrowing& by) {
  RunPolicy policy{.mode = {},
                   .hash = std::move(narrowed.hash),
                   .image = {},
                   .warnings = shortened(std::move(narrowed.warnings)),
                   .by = by};
  WEIR_TRY(policy.image, sealed_image(narrowed.image));
  WEIR_TRY(const policy::Image image, policy::Image::open(narrowed.image));
  policy.mode = policy::name_of(image.mode());
  const bool closed = image.mode() == policy::Mode::none || image.mode() == policy::Mode::inbound;
  policy.network = closed ? sandbox::Network::loopback : sandbox::Network::captured;
  return policy;
}

// Without a compiled policy there is no gateway: what asks for none either may run.
wire::Answer<RunPolicy> beside_no_gateway(const policy::Narrowing& by, const std::string& mode) {
  const std::string wanted(policy::name_of(by.layer.mode));
  const bool closed = by.layer.mode == policy::Mode::none;
  if (closed || wanted == mode) {
    return RunPolicy{.mode = wanted, .hash = policy::hash_of(by.layer.mode), .image = {}, .warnings = {}, .by = by};
  }
  if (mode == policy::name_of(policy::Mode::host)) {
    return wire::refuse(ErrorCode::unavailable, "a session with the host's own network has no policy to narrow",
                        "run it with network_mode none, or make another session");
  }
  return wire::refuse(ErrorCode::cannot_widen,
                      "cannot_widen: the run wants mode " + wanted + ", its session has " + mode,
                      "ask for less, or start a session that allows it");
}

}  // namespace

wire::Answer<RunPolicy> RunPolicy::of(const wire::RunProcess& request, const policy::Image* session,
                                      const std::string& mode) {
  const auto refused = [](const Error& error) { return wire::refuse(code_of(error), error); };
  policy::PolicyFlags flags;
  flags.mode = request.network_mode;
  flags.allow = request.network_allowlist;
  flags.deny = request.network_denylist;
  const auto by = policy::compile_narrowing(flags);
  if (!by) return refused(by.error());
  if (session == nullptr) return beside_no_gateway(*by, mode);
  auto narrowed = policy::narrow_policy(*session, *by);
  if (!narrowed) return refused(narrowed.error());
  auto policy = policy_of(std::move(*narrowed), *by);
  if (!policy) return refused(policy.error());
  return std::move(*policy);
}

Result<RunPolicy> RunPolicy::inside(const policy::Image& session) const {
  WEIR_TRY(policy::Narrowed narrowed, policy::put_inside(session, by));
  return policy_of(std::move(narrowed), by);
}

}  // namespace weir::supervisor
