#include "policy/text/narrow.h"

#include <cerrno>

#include "policy/compiled/layer_view.h"
#include "policy/text/layer_compiler.h"
#include "policy/text/policy_file.h"
#include "policy/text/widen.h"

namespace weir::policy {

namespace {

// What is set up once, when the sandbox starts.
Result<> check_tables(const PolicyText& text, const PolicyFlags& flags) {
  const auto fixed = [](const char* what) {
    return std::unexpected(Error(std::string(what) + " cannot change while a sandbox runs")
                               .with_remedy("leave it out of the narrower policy"));
  };
  if (text.after || !flags.after.empty()) return fixed("[after]");
  if (!text.dns_upstreams.empty()) return fixed("dns.upstream");
  if (!text.publishes.empty()) return fixed("publish");
  // How everything goes out is part of what was agreed to at the start.
  const bool http = text.upstream_proxy.endpoint || !flags.upstream_proxy.empty();
  const bool socks = text.upstream_socks.endpoint || !flags.upstream_socks.empty();
  if (http || socks || text.upstream_proxy.credentials || text.upstream_socks.credentials)
    return fixed("an upstream proxy");
  if (flags.compiled) return fixed("a compiled policy");
  if (!text.deny_lists.empty() || !flags.deny_lists.empty()) return fixed("deny_lists");
  return {};
}

Result<Narrowing> compile_layer(const PolicyText& text, const PolicyFlags& flags, const Insisted& insisted) {
  const CompileInput no_lists;
  Compiled notices;  // of what a narrower policy opens: nothing
  Narrowing narrowing;
  WEIR_TRY(narrowing.layer, LayerCompiler(Layer::run, text, flags, no_lists, notices).run(insisted));
  if (narrowing.layer.mode == Mode::host) return cannot_widen("mode host is wider than every other");
  ImageSource tables;
  narrow_limits(text, narrowing.layer.mode, tables);
  narrowing.limits = tables.limits;
  narrowing.written_limits = tables.written_limits;
  return narrowing;
}

Result<Narrowed> with_one_more(ImageSource source, const Narrowing& by) {
  const Layer innermost = source.layers.back().layer;
  if (innermost == kInnermostLayer) {
    return std::unexpected(Error("this sandbox has been narrowed too often", ENOSPC)
                               .with_remedy("end it, and start one with the policy that is wanted"));
  }
  Narrowed narrowed;
  source.layers.push_back(by.layer);
  source.layers.back().layer = std::max(Layer::run, static_cast<Layer>(static_cast<std::uint8_t>(innermost) + 1));
  source.limits.narrow(by.limits);
  source.written_limits |= by.written_limits;
  WEIR_TRY(narrowed.image, build_image(source));
  WEIR_TRY(const Image image, Image::open(narrowed.image));
  narrowed.hash = image.hash();
  return narrowed;
}

}  // namespace

Result<Narrowing> compile_narrowing(const PolicyFlags& flags) {
  PolicyText text;
  if (flags.file) {
    WEIR_TRY(text, parse_policy(flags.file->text, flags.file->name));
  }
  WEIR_CHECK_OK(check_tables(text, flags));
  WEIR_TRY(const Insisted insisted, parse_insist(flags.insist));
  if (!insisted.floor.empty()) return cannot_widen("a live sandbox keeps its floor");
  return compile_layer(text, flags, insisted);
}

Result<Narrowing> compile_after(const PolicyText& section, const std::string& mode, const Image& outer,
                                std::vector<std::string>& warnings) {
  if (outer.mode() == Mode::none) return cannot_widen("mode none allows nothing that could be taken away");
  PolicyFlags flags;
  flags.mode = mode;
  WEIR_TRY(Narrowing after, compile_layer(section, flags, {}));
  WEIR_TRY(Narrowed narrowed, narrow_policy(outer, after));
  for (const std::string& each : narrowed.warnings) warnings.push_back("[after]: " + each);
  return after;
}

bool has_room_inside(const Image& policy) {
  const auto layers = policy.layers();
  return layers.empty() || layers.back().layer() != kInnermostLayer;
}

Result<Narrowed> narrow_policy(const Image& current, const Narrowing& by) {
  WEIR_TRY(ImageSource source, read_back(current, "the policy in force"));
  std::vector<std::string> warnings;
  WEIR_CHECK_OK(check_narrower(current, source, by.layer, warnings));
  WEIR_TRY(Narrowed narrowed, with_one_more(std::move(source), by));
  narrowed.warnings = std::move(warnings);
  return narrowed;
}

Result<Narrowed> put_inside(const Image& current, const Narrowing& by) {
  WEIR_TRY(ImageSource source, read_back(current, "the policy in force"));
  return with_one_more(std::move(source), by);
}

}  // namespace weir::policy
