#include "policy/text/cases.h"

#include <algorithm>

#include "base/spelling.h"
#include "policy/text/json_text.h"
#include "policy/text/policy_file.h"
#include "policy/text/target.h"

namespace weir::policy {

namespace {

constexpr std::string_view kBlanks = " \t\r";

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::size_t start = line.find_first_not_of(kBlanks); start != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(kBlanks, start), line.size());
    words.push_back(line.substr(start, end - start));
    start = line.find_first_not_of(kBlanks, end);
  }
  return words;
}

std::optional<Reason> reason_of(std::string_view word) {
  for (std::uint8_t i = 1; i < kReasonCount; ++i) {
    if (name_of(static_cast<Reason>(i)) == word) return static_cast<Reason>(i);
  }
  return std::nullopt;
}

// One line that is neither empty nor a comment.
class LineParser {
 public:
  LineParser(std::string_view line, std::uint32_t number, std::string_view file)
      : line_(line), file_(file), words_(words_of(line)) {
    out_.line = number;
    out_.text = std::string(line.substr(0, line.find_last_not_of(kBlanks) + 1));
  }

  Result<PolicyCase> run() {
    WEIR_CHECK_OK(take_expected());
    WEIR_CHECK_OK(take_target());
    while (next_ < words_.size()) WEIR_CHECK_OK(take_option());
    if (out_.request.flight && !out_.request.address) {
      return fail_at(words_[1], "what the connection says matters only for an address",
                     "write ADDRESS:PORT as NAME ...");
    }
    return std::move(out_);
  }

 private:
  std::unexpected<Error> fail_at(std::string_view word, const std::string& what, std::string remedy = {}) const {
    const Position at{.line = out_.line, .column = static_cast<std::uint32_t>(word.data() - line_.data()) + 1};
    return std::unexpected(Error(place_text(file_, at) + what).with_remedy(std::move(remedy)));
  }

  Result<> take_expected() {
    const std::string_view word = words_[0];
    if (word != "allow" && word != "refuse") {
      return fail_at(word, "'" + std::string(word) + "' is no verdict", "write allow or refuse");
    }
    out_.expect_allowed = word == "allow";
    return {};
  }

  Result<> take_target() {
    if (words_.size() < 2) return fail_at(words_[0], "the target is missing", "write allow example.com:443");
    auto request = parse_explain_request(words_[1]);
    if (!request) return fail_at(words_[1], request.error().what(), request.error().remedy());
    out_.request = std::move(*request);
    next_ = 2;
    return {};
  }

  // The word after `option`, as a name; nullopt for "-".
  Result<std::optional<net::DomainName>> take_name(std::string_view option) {
    if (next_ >= words_.size()) return fail_at(option, "a name is missing after '" + std::string(option) + "'");
    const std::string_view word = words_[next_++];
    if (word == "-") return std::nullopt;
    auto name = parse_host_name(word);
    if (!name) return fail_at(word, name.error().what());
    return std::optional(std::move(*name));
  }

  Result<> take_option() {
    const std::string_view word = words_[next_++];
    if (word == "as") {
      WEIR_TRY(auto name, take_name(word));
      if (!out_.request.address) return fail_at(word, "'as' says which name led to an address, but this is a name");
      out_.request.name = std::move(name);
      return {};
    }
    if (word == "sni" || word == "host") {
      WEIR_TRY(auto name, take_name(word));
      const bool present = name.has_value();
      out_.request.flight = FirstFlight{.kind = word == "sni" ? FlightKind::tls : FlightKind::http,
                                        .name = std::move(name),
                                        .name_present = present,
                                        .ech = false};
      return {};
    }
    if (word == "opaque") {
      out_.request.flight = FirstFlight{.kind = FlightKind::opaque, .name = {}, .name_present = false, .ech = false};
      return {};
    }
    return take_reason(word);
  }

  Result<> take_reason(std::string_view word) {
    out_.reason = reason_of(word);
    if (!out_.reason) {
      std::vector<std::string_view> names = {"as", "sni", "host", "opaque"};
      for (std::uint8_t i = 1; i < kReasonCount; ++i) names.push_back(name_of(static_cast<Reason>(i)));
      const std::string_view near = nearest_spelling(word, names);
      return fail_at(word, "'" + std::string(word) + "' is neither a reason nor an option",
                     near.empty() ? "" : "write " + std::string(near));
    }
    if (out_.expect_allowed) return fail_at(word, "what is allowed has no reason");
    if (next_ < words_.size()) return fail_at(words_[next_], "nothing may follow the reason");
    return {};
  }

  std::string_view line_;
  std::string_view file_;
  std::vector<std::string_view> words_;
  std::size_t next_ = 0;
  PolicyCase out_;
};

}  // namespace

Result<std::vector<PolicyCase>> parse_cases(std::string_view text, std::string_view file) {
  std::vector<PolicyCase> cases;
  std::uint32_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(kBlanks) == std::string_view::npos) continue;
    if (cases.size() >= kMaxCases) return fail(std::string(file) + ": more than 100000 cases");
    WEIR_TRY(PolicyCase parsed, LineParser(line, number, file).run());
    cases.push_back(std::move(parsed));
  }
  return cases;
}

std::vector<CaseFailure> run_cases(const Image& image, const HostFacts& facts, const std::vector<PolicyCase>& cases) {
  std::vector<CaseFailure> failures;
  for (const PolicyCase& each : cases) {
    Explanation got = explain(image, facts, each.request);
    const bool holds = got.allowed == each.expect_allowed && (!each.reason || *each.reason == got.reason);
    if (!holds) failures.push_back({.line = each.line, .text = each.text, .got = std::move(got)});
  }
  return failures;
}

std::string failures_text(const std::vector<CaseFailure>& failures, std::string_view file) {
  std::string text;
  for (const CaseFailure& failure : failures) {
    text += place_text(file, {.line = failure.line, .column = 1}) + failure.text + ": but it is ";
    text += failure.got.allowed ? "allowed" : "refused (" + std::string(name_of(failure.got.reason)) + ")";
    if (!failure.got.rule.empty()) text += ", by " + failure.got.rule;
    if (failure.got.layer != Layer::none) text += " (layer " + std::string(name_of(failure.got.layer)) + ")";
    text += "\n";
  }
  return text;
}

std::string failures_json(const std::vector<CaseFailure>& failures) {
  JsonText array = JsonText::array();
  for (const CaseFailure& failure : failures) {
    JsonText object = JsonText::object();
    object.add("line", failure.line).add("case", failure.text).add_raw("got", explanation_json(failure.got));
    array.push_raw(object.text());
  }
  return array.text();
}

}  // namespace weir::policy
