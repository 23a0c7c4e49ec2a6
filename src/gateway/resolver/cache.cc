#include "gateway/resolver/cache.h"

#include <algorithm>

namespace weir::gateway {

const Outcome* AnswerCache::find(const Question& question, std::uint64_t now_ms) {
  const auto found = entries_.find(question);
  if (found == entries_.end()) return nullptr;
  const Outcome& outcome = found->second.outcome;
  if (now_ms - outcome.stored_ms < std::uint64_t{outcome.ttl} * 1000) return &outcome;
  ages_.erase(found->second.age);
  entries_.erase(found);
  return nullptr;
}

namespace {

std::size_t record_bytes(const Outcome& outcome) {
  std::size_t bytes = 0;
  for (const wire::dns::Record& record : outcome.records) bytes += record.rdata.size();
  return bytes;
}

}  // namespace

void AnswerCache::store(const Question& question, Outcome outcome, std::uint64_t now_ms) {
  outcome.ttl = std::min(outcome.ttl, kMaxTtl);
  if (outcome.ttl == 0 || record_bytes(outcome) > kMaxRecordBytes) return;
  outcome.stored_ms = now_ms;
  if (const auto old = entries_.find(question); old != entries_.end()) {
    ages_.erase(old->second.age);
    entries_.erase(old);
  }
  if (entries_.size() >= kMaxEntries) {
    entries_.erase(ages_.front());
    ages_.pop_front();
  }
  entries_.emplace(question, Entry{.outcome = std::move(outcome), .age = ages_.insert(ages_.end(), question)});
}

}  // namespace weir::gateway
