#include "image/snapshot/layer_writer.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include "base/sha256.h"
#include "sys/errno.h"

namespace weir::image {
namespace {

using wire::LayerEntry;
using wire::TarEntry;

constexpr std::string_view kMark = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

std::size_t name_begin(const std::string& path) {
  return path.rfind('/') + 1;  // npos + 1 is 0
}

Result<> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(fd, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return sys::errno_error("cannot write the manifest of the layer");
    text.remove_prefix(static_cast<std::size_t>(done));
  }
  return {};
}

// Passes entries on, and writes down what they are.
class Described : public wire::EntrySource {
 public:
  Described(wire::EntrySource& source, int manifest) : source_(source), manifest_(manifest) {}

  Result<std::optional<TarEntry>> next() override {
    WEIR_TRY(std::optional<TarEntry> entry, source_.next());
    if (entry && entry->path.substr(name_begin(entry->path)) == kOpaque) {
      line_->type = LayerEntry::Type::opaque_folder;  // the folder came right before
      return entry;
    }
    WEIR_CHECK_OK(end_line());
    if (entry) line_ = begun(*entry);
    hash_ = {};
    if (!entry) WEIR_CHECK_OK(flush());
    return entry;
  }

  Result<std::size_t> read(MutableBytes into) override {
    WEIR_TRY(const std::size_t got, source_.read(into));
    hash_.update(Bytes(into).first(got));
    size_ += got;
    return got;
  }

 private:
  static constexpr std::size_t kBuffer = 1 << 20;

  static LayerEntry begun(const TarEntry& entry) {
    LayerEntry line{.path = entry.path,
                    .link = entry.link,
                    .mode = entry.mode,
                    .uid = entry.uid,
                    .gid = entry.gid,
                    .mtime = entry.mtime,
                    .size = entry.size};
    if (entry.type == TarEntry::Type::folder) line.type = LayerEntry::Type::folder;
    if (entry.type == TarEntry::Type::hard_link) line.type = LayerEntry::Type::hard_link;
    if (entry.type == TarEntry::Type::symbolic_link) line.type = LayerEntry::Type::symbolic_link;
    if (const std::size_t name = name_begin(entry.path); std::string_view(entry.path).substr(name).starts_with(kMark)) {
      line.type = LayerEntry::Type::whiteout;
      line.path.erase(name, kMark.size());
    }
    return line;
  }

  Result<> end_line() {
    if (!line_) return {};
    if (line_->type == LayerEntry::Type::file) {
      if (size_ != line_->size) return fail(wire::quoted_path(line_->path) + ": it changed while it was read");
      line_->digest = hash_.finish();
    }
    size_ = 0;
    text_ += wire::layer_line(*line_);
    line_.reset();
    return text_.size() < kBuffer ? Result<>() : flush();
  }

  Result<> flush() {
    written_ += text_.size();
    if (written_ > wire::kMaxLayerManifest) return fail("the names of all files together are too long");
    WEIR_CHECK_OK(write_all(manifest_, text_));
    text_.clear();
    return {};
  }

  wire::EntrySource& source_;
  int manifest_;
  std::optional<LayerEntry> line_;
  Sha256 hash_;
  std::uint64_t size_ = 0;
  std::uint64_t written_ = 0;
  std::string text_ = std::string(wire::kLayerManifestHead);
};

// The other way round: the lines of a manifest, with what their files hold.
class Restored : public wire::EntrySource {
 public:
  Restored(const std::vector<LayerEntry>& lines, const NextContent& content) : lines_(lines), content_(content) {}

  Result<std::optional<TarEntry>> next() override {
    if (mark_) return std::exchange(mark_, std::nullopt);
    current_ = nullptr;
    if (next_ == lines_.size()) return std::optional<TarEntry>();
    const LayerEntry& line = lines_[next_++];
    TarEntry entry = entry_of(line);
    if (line.type == LayerEntry::Type::opaque_folder) {
      mark_.emplace();
      mark_->path = line.path + "/" + std::string(kOpaque);
    }
    if (line.type == LayerEntry::Type::file) {
      WEIR_TRY(current_, content_(line, files_++));
      hash_ = {};
      size_ = 0;
    }
    return entry;
  }

  Result<std::size_t> read(MutableBytes into) override {
    if (current_ == nullptr) return std::size_t{0};
    WEIR_TRY(const std::size_t got, current_->read(into));
    hash_.update(Bytes(into).first(got));
    size_ += got;
    if (got > 0) return got;
    current_ = nullptr;
    const LayerEntry& line = lines_[next_ - 1];
    if (size_ == line.size && hash_.finish() == line.digest) return got;
    return std::unexpected(Error(wire::quoted_path(line.path) + ": its content is not what its digest says")
                               .with_remedy("get the file again: it was damaged or changed"));
  }

 private:
  static TarEntry entry_of(const LayerEntry& line) {
    TarEntry entry{.path = line.path,
                   .link = line.link,
                   .mode = line.mode,
                   .uid = line.uid,
                   .gid = line.gid,
                   .mtime = line.mtime,
                   .size = line.size,
                   .attributes = {}};
    if (line.is_folder()) entry.type = TarEntry::Type::folder;
    if (line.type == LayerEntry::Type::hard_link) entry.type = TarEntry::Type::hard_link;
    if (line.type == LayerEntry::Type::symbolic_link) entry.type = TarEntry::Type::symbolic_link;
    if (line.type == LayerEntry::Type::whiteout) entry.path.insert(name_begin(entry.path), kMark);
    return entry;
  }

  const std::vector<LayerEntry>& lines_;
  const NextContent& content_;
  std::size_t next_ = 0;
  std::size_t files_ = 0;
  std::optional<TarEntry> mark_;
  wire::ByteStream* current_ = nullptr;
  Sha256 hash_;
  std::uint64_t size_ = 0;
};

}  // namespace

std::string encode(const LayerTally& tally) {
  std::string text;
  for (const std::uint64_t number :
       {tally.entries, tally.bytes, tally.left_out.sockets, tally.left_out.names, tally.left_out.set_id_bits})
    text += std::to_string(number) + " ";
  return text;
}

Result<LayerTally> decode_layer_tally(std::string_view text) {
  LayerTally tally;
  for (std::uint64_t* number :
       {&tally.entries, &tally.bytes, &tally.left_out.sockets, &tally.left_out.names, &tally.left_out.set_id_bits}) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
    if (error != std::errc() || end == text.data() + text.size() || *end != ' ')
      return fail("the process that makes the layer said something else");
    text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  }
  if (!text.empty()) return fail("the process that makes the layer said too much");
  return tally;
}

Result<LayerTally> write_layer(const WrittenTree& tree, sys::OwnedFd root, Owners owners, int manifest, Limits limits) {
  WrittenEntries entries(tree, limits);
  Described described(entries, manifest);
  TreeWriter writer(std::move(root), owners, limits);
  WEIR_CHECK_OK(writer.apply(described, TreeWriter::Whiteouts::kept));
  return LayerTally{.entries = writer.tally().entries, .bytes = writer.tally().bytes, .left_out = entries.left_out()};
}

Result<LayerTally> restore_layer(std::string_view manifest, const NextContent& content, sys::OwnedFd root,
                                 Owners owners) {
  WEIR_TRY(const std::vector<LayerEntry> lines, wire::parse_layer_manifest(manifest));
  Restored entries(lines, content);
  TreeWriter writer(std::move(root), owners, kLayerLimits);
  WEIR_CHECK_OK(writer.apply(entries, TreeWriter::Whiteouts::kept));
  return LayerTally{.entries = writer.tally().entries, .bytes = writer.tally().bytes, .left_out = {}};
}

}  // namespace weir::image
