#include "supervisor/generations.h"

#include <cerrno>

#include "sys/memory_file.h"

namespace weir::supervisor {

namespace {

policy::PolicyFlags flags_of(const wire::ControlRequest& request) {
  policy::PolicyFlags flags;
  if (request.policy) flags.file = policy::TextFile{.name = "policy", .text = *request.policy};
  flags.mode = request.network_mode;
  flags.allow = request.network_allowlist;
  flags.deny = request.network_denylist;
  flags.insist = request.insist;
  return flags;
}

std::string code_of(const Error& error) {
  if (policy::is_cannot_widen(error)) return "cannot_widen";
  return error.code() == EIO ? "audit" : "invalid_policy";
}

wire::ControlReply reply_of(const Result<Generations::Change>& change) {
  if (!change) return refusal_of(code_of(change.error()), change.error());
  return {.refused = {},
          .generation = change->generation,
          .policy = change->policy,
          .cut = change->cut,
          .warnings = change->warnings};
}

}  // namespace

Result<std::shared_ptr<const sys::OwnedFd>> sealed_image(Bytes image) {
  WEIR_TRY(sys::OwnedFd file, sys::make_memory_file("weir-policy"));
  WEIR_CHECK_OK(sys::append(file, image));
  WEIR_CHECK_OK(sys::seal(file));
  return std::make_shared<const sys::OwnedFd>(std::move(file));
}

// Everything that can fail, and the record last of it.
Result<Generations::Change> Generations::adopt(const policy::Narrowing& by, std::optional<Network::Policy>& out) {
  WEIR_TRY(policy::Narrowed narrowed, policy::narrow_policy(network_.policy(), by));
  WEIR_TRY(auto file, sealed_image(narrowed.image));
  WEIR_TRY(Network::Policy next, Network::Policy::of(std::move(file)));
  // What was admitted is the business of the generation that admitted it, also in the record.
  network_.settle();
  log_.begin_generation(narrowed.hash, generation_ + 1);
  audit::Event event;
  event.type = audit::EventType::policy_update;
  event.mode = policy::name_of(next.image.mode());
  event.notices = narrowed.warnings;
  if (!log_.record(std::move(event)) || !log_.commit()) {
    log_.begin_generation(std::string(network_.policy().hash()), generation_);
    return std::unexpected(Error("the change cannot be recorded, and so it does not happen: " + log_.failure(), EIO)
                               .with_remedy("make room for the events"));
  }
  out = std::move(next);
  return Change{.generation = ++generation_,
                .policy = std::move(narrowed.hash),
                .cut = 0,
                .warnings = std::move(narrowed.warnings)};
}

void Generations::narrow(const policy::Narrowing& by, OnDone on_done) {
  std::optional<Network::Policy> next;
  auto change = adopt(by, next);
  if (!change) return on_done(std::move(change));
  const std::uint64_t generation = change->generation;
  network_.narrow(std::move(*next), generation,
                  [change = std::move(*change), on_done = std::move(on_done)](std::size_t cut) mutable {
                    change.cut = cut;
                    on_done(std::move(change));
                  });
}

Generations::Change Generations::now() const {
  return {.generation = generation_, .policy = std::string(network_.policy().hash()), .cut = 0, .warnings = {}};
}

void Generations::serve(const wire::ControlRequest& request, const ControlSocket::Answer& answer) {
  const auto on_done = [answer](const Result<Change>& change) { answer(reply_of(change)); };
  if (request.op == wire::ControlRequest::Op::show) return on_done(now());
  const auto by = policy::compile_narrowing(flags_of(request));
  if (!by) return answer(refusal_of(code_of(by.error()), by.error()));
  narrow(*by, on_done);
}

}  // namespace weir::supervisor
