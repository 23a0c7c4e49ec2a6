// Flags and files become an image: layers in order, sets unfolded, contradictions refused (policy.md sections 1 and 3).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/compiled/source.h"
#include "policy/text/policy_file.h"

namespace weir::policy {

// A file that the caller has read.
struct TextFile {
  std::string name;  // for messages
  std::string text;
};

// A policy that was compiled before (`weir policy compile`). The bytes must outlive the compilation and never change.
struct CompiledFile {
  std::string name;  // for messages
  Bytes bytes;
};

// Reads a file that a policy names. This room has no files: the caller lends it one.
using FileReader = std::function<Result<std::string>(const std::string& path)>;

// Lines of lists that deny nothing.
enum class InvalidLines : std::uint8_t { refused, skipped };

// One layer as a user gives it. Each element of `allow` and `deny` may be a comma-separated list.
struct PolicyFlags {
  std::optional<TextFile> file;          // --policy
  std::optional<CompiledFile> compiled;  // --policy; instead of `file`
  std::string mode;                      // -n; "" if not given
  std::vector<std::string> allow;
  std::vector<std::string> deny;
  std::vector<std::string> deny_lists;  // "ads.txt", "rpz:malware.zone"
  std::vector<std::string> insist;      // "broad=*.com", "floor=169.254.169.254"
  std::vector<std::string> publish;     // -p: "8080:80", "[::1]:0:53/udp"
  // --upstream-proxy, --upstream-socks and where their credentials are; "" where not given.
  std::string upstream_proxy = {};
  std::string upstream_socks = {};
  std::string upstream_proxy_auth = {};
  std::string upstream_socks_auth = {};
  std::string after = {};  // --after: its mode; "" if not given

  // Nothing given besides a file.
  bool adds_nothing() const {
    return mode.empty() && allow.empty() && deny.empty() && deny_lists.empty() && insist.empty() && publish.empty() &&
           upstream_proxy.empty() && upstream_socks.empty() && upstream_proxy_auth.empty() &&
           upstream_socks_auth.empty() && after.empty();
  }
};

struct CompileInput {
  std::optional<TextFile> floor;  // contents of /etc/weir/floor.toml, if the machine has one
  PolicyFlags session;
  std::optional<PolicyFlags> run;
  FileReader read_list;  // may be empty where no list is named
  InvalidLines invalid_lines = InvalidLines::refused;
  // What the result is for. A run needs no `source`, and a compiled policy of a million names then costs no copy.
  enum class Purpose : std::uint8_t { reading, running };
  Purpose purpose = Purpose::reading;
};

// A layer that waits to be put inside of a policy.
struct Narrowing {
  LayerSource layer;
  Limits limits;
  std::uint32_t written_limits = 0;
};

struct Compiled {
  Mode mode = Mode::none;  // of the innermost layer
  // For Image::open(). Empty exactly in mode `host`. `none` and `inbound` have one too, though no gateway reads it.
  std::vector<std::uint8_t> image;
  // Instead of `image`, for Purpose::running: the compiled policy that was given, so changed. `source` then has no
  // layers.
  std::optional<ImagePatch> patch;
  std::string hash;                      // of the image; of the mode's name where there is none
  std::string floor_hash;                // of the floor file's text; "" if there is none
  std::vector<net::Endpoint> upstreams;  // plain dns.upstream, in order; empty: the host's own
  // Whole lines without "weir: ": what was insisted on, opened or replaced. To be printed at start.
  std::vector<std::string> notices;
  // What holds only in part, or not at all, because an outer layer is narrower.
  std::vector<std::string> warnings;
  ImageSource source;  // what the image was built from, for `show` and `lint`
  // [after] or --after, found to be narrower: for put_inside().
  std::optional<Narrowing> after;
};

// Errors say what to write instead. The error of a run that wants more than its session has begins with "cannot_widen".
Result<Compiled> compile_policy(const CompileInput& input);

// What stands for a policy that is nothing but its mode, where none is compiled.
std::string hash_of(Mode mode);

// True of that error, whatever context was put in front.
bool is_cannot_widen(const Error& error);

}  // namespace weir::policy
