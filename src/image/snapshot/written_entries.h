// What a sandbox has written, as the entries of a layer.
//
// The tree is the guest's: its private root, or the upper layer of its overlay. Everything is opened anew from the one
// descriptor, beneath it, through no link and on no other mount; only folders and regular files are opened. What a
// layer cannot hold (sockets, pipes, devices, names that mark whiteouts) is left out and counted. Nothing inside runs.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/ids.h"
#include "image/limits.h"
#include "image/streams.h"
#include "sys/owned_fd.h"
#include "wire/tar.h"

namespace weir::image {

// What weir itself had put there before the first process ran, by inode number and the time of its last change: as long
// as it is the same it is no file of the session.
class Baseline {
 public:
  // `folder`: as WrittenEntries has it. An error where there is more than kMaxBaseline.
  static Result<Baseline> of(int folder);
  bool has(const struct stat& status) const;

 private:
  friend struct BaselineWalk;
  std::unordered_map<ino_t, timespec> made_;
};
inline constexpr std::size_t kMaxBaseline = 100'000;

struct WrittenTree {
  int folder = -1;  // outlives the object; O_PATH is enough
  // The upper folder of an overlay: marks say what is gone. Otherwise the whole of a private root.
  enum class Kind : std::uint8_t { root, upper } kind = Kind::root;
  Baseline baseline = {};
  // Absolute paths inside that are not the session's files: where shares and tools lie.
  std::vector<std::string> shared = {};
  // Where one id owns everything: as whose files they are kept.
  std::optional<OwnerIds> one_owner = {};
};

// What was left out, and what was changed on the way.
struct LeftOut {
  std::uint64_t sockets = 0;      // and pipes, devices
  std::uint64_t names = 0;        // too long, too deep, or such as mark whiteouts
  std::uint64_t set_id_bits = 0;  // the file was kept without
};

// One sentence each.
std::vector<std::string> remarks(const LeftOut& left_out);

class WrittenEntries : public wire::EntrySource {
 public:
  WrittenEntries(const WrittenTree& tree, Limits limits) : tree_(tree), limits_(limits) {}

  // Each folder before what is in it, by name; a folder that only weir made comes only before what is in it. Whiteouts
  // as the OCI image specification spells them. An error: what cannot be read, or is more than the limits.
  Result<std::optional<wire::TarEntry>> next() override;
  Result<std::size_t> read(MutableBytes into) override;

  const LeftOut& left_out() const { return left_out_; }

 private:
  using Entry = wire::TarEntry;
  sys::OwnedFd open(const std::string& path, int flags) const;
  bool is_shared(const std::string& path) const;
  Result<std::optional<Entry>> look(const std::string& path);
  Result<std::optional<Entry>> look_at_folder(Entry entry);
  Result<std::optional<Entry>> look_at_file(Entry entry, const struct stat& seen);
  Result<> list(sys::OwnedFd folder, const std::string& path);
  void describe(Entry& entry, const struct stat& status);
  void put(Entry entry);

  const WrittenTree& tree_;
  Limits limits_;
  LeftOut left_out_;
  std::vector<std::string> waiting_ = {""};  // the next one last
  std::uint64_t listed_ = 0;
  std::vector<Entry> folders_;  // weir's own, in which nothing was found yet; outermost first
  std::vector<Entry> ready_;    // found, to be given; the next one last
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;
  // The file that is read now: its descriptor waits until its entry is given.
  std::string path_;
  sys::OwnedFd file_;
  struct stat before_{};
  std::optional<FileStream> content_;
};

}  // namespace weir::image
