// Answers that are still good, so that a repeated question costs neither the supervisor nor the upstream.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "net/domain_name.h"
#include "net/ip_address.h"
#include "wire/dns.h"

namespace weir::gateway {

struct Question {
  net::DomainName name;
  std::uint16_t type = 0;

  friend bool operator==(const Question&, const Question&) = default;
};

struct QuestionHash {
  std::size_t operator()(const Question& question) const noexcept {
    return std::hash<net::DomainName>{}(question.name) * 31 + question.type;
  }
};

// What a question leads to, ready to be sent to any asker.
struct Outcome {
  wire::dns::Rcode rcode = wire::dns::Rcode::no_error;
  bool refused = false;                   // by policy: carries EDE 15
  std::uint8_t reason = 0;                // policy::Reason, where it was refused
  std::vector<net::IpAddress> addresses;  // A and AAAA
  std::vector<wire::dns::Record> records;
  std::uint32_t ttl = 0;  // seconds from `stored_ms`
  std::uint64_t stored_ms = 0;
};

class AnswerCache {
 public:
  static constexpr std::size_t kMaxEntries = 4096;      // as many as the name book has names
  static constexpr std::size_t kMaxRecordBytes = 2048;  // larger answers are asked again: 4,096 of these are 8 MiB
  static constexpr std::uint32_t kMaxTtl = 3600;        // the name book's hour
  static constexpr std::uint32_t kNegativeTtl = 5;  // long enough for a retry loop, short enough to notice a new name

  // Null when there is none or it has expired.
  const Outcome* find(const Question& question, std::uint64_t now_ms);
  // Oldest out when full.
  void store(const Question& question, Outcome outcome, std::uint64_t now_ms);

 private:
  struct Entry {
    Outcome outcome;
    std::list<Question>::iterator age;
  };
  std::unordered_map<Question, Entry, QuestionHash> entries_;
  std::list<Question> ages_;  // oldest first
};

}  // namespace weir::gateway
