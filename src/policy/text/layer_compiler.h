// One layer while it is put together from its file and its flags. Internal to this room.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "policy/text/compile.h"
#include "policy/text/mode.h"
#include "policy/text/policy_file.h"

namespace weir::policy {

// What --insist lifted. A word that nothing needed is a mistake and is said.
struct Insisted {
  std::vector<std::string> broad;
  std::vector<net::IpAddress> floor;
};

Result<Insisted> parse_insist(const std::vector<std::string>& words);

// What a soft-floor target lets the sandbox reach is said at start.
void note_opened(const Entry& entry, Compiled& out);

// Limits narrow from layer to layer: those that a layer's mode has, or its text sets, into those of the policy.
void narrow_limits(const PolicyText& text, Mode mode, ImageSource& source);

// The arguments must outlive it.
class LayerCompiler {
 public:
  LayerCompiler(Layer layer, const PolicyText& text, const PolicyFlags& flags, const CompileInput& input, Compiled& out)
      : layer_(layer), text_(text), flags_(flags), input_(input), out_(out) {
    source_.layer = layer;
  }

  Result<LayerSource> run(const Insisted& insisted);

 private:
  Result<> choose_mode();
  Result<> check_mode() const;
  Result<> check_denylist(DenyNeed need) const;
  Result<> add_written(const WrittenTarget& written, Action action, Step step, Ech ech);
  Result<> add_flags(const std::vector<std::string>& lists, Action action);
  Result<> add(std::string_view text, const Entry& like, const std::string& place);
  void keep(Entry entry);
  enum class Kind : std::uint8_t { written, list };
  void keep_compiled(Step step, Kind kind);
  Result<> add_lists();

  bool has_compiled(Step step) const {
    return text_.compiled &&
           std::ranges::find(text_.compiled->entries, step, &Entry::step) != text_.compiled->entries.end();
  }
  bool has_allow() const {
    return !flags_.allow.empty() || (text_.allow && !text_.allow->empty()) || has_compiled(Step::allow);
  }
  bool has_rules() const { return !text_.rules.empty() || has_compiled(Step::rules); }
  bool has_deny() const {
    return !flags_.deny.empty() || !text_.deny.empty() || !flags_.deny_lists.empty() || !text_.deny_lists.empty() ||
           has_compiled(Step::deny);
  }

  Layer layer_;
  const PolicyText& text_;
  const PolicyFlags& flags_;
  const CompileInput& input_;
  Compiled& out_;
  Insisted insisted_;
  LayerSource source_;
};

}  // namespace weir::policy
