// Taking kept changes over into the folder they were made over, or saying what that would come to.
//
// Everything kept is hostile, and the folder may have been changed by anybody meanwhile. Each step goes through
// descriptors below the shared folder, through no link and into no other file system; nothing but files, folders and
// links is made; a file is whole or not there: it is written beside its place, synced, and renamed. Files are synced by
// the hundred: one by one a disk takes milliseconds for each.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "changes/fingerprint.h"
#include "changes/manifest.h"
#include "sys/owned_fd.h"

namespace weir::changes {

struct Outlook {
  enum class State : std::uint8_t {
    open,     // nothing stands against it
    applied,  // done now
    already,  // the folder holds it
    refused,  // something stands against it; `insistable`: unless it is named
    failed,   // it was begun and did not work
  };
  std::size_t entry = 0;  // place in Manifest::entries
  State state = State::open;
  std::vector<std::string> reasons = {};  // for people; may hold what the guest chose
  bool insistable = false;
  bool conflict = false;  // the folder is not what it was
  std::string note = {};  // what is left out of what is applied; may be empty
};

// A path of a share; an empty one is all of it.
using Place = std::pair<std::uint32_t, std::string>;

class TakeOver {
 public:
  enum class Mode : std::uint8_t { look, apply };

  // All must live as long. `insisted`: entries that are taken over in spite of an insistable reason.
  TakeOver(const Manifest& manifest, const sys::OwnedFd& contents, Mode mode, std::set<Place> insisted);

  // Entries at or below the wanted places (none: all), and added folders above them: what came of each, in their order.
  // Goes on after a failure.
  std::vector<Outlook> run(const std::vector<Place>& wanted);

 private:
  struct Root {
    sys::OwnedFd folder;  // not valid: `missing` says why
    std::string missing;
    std::uint32_t uid = 0;  // its owner
    std::uint32_t gid = 0;
  };
  struct Target {
    sys::OwnedFd parent;  // not valid in look mode where a folder above would be made first
    std::string name;
    Print print;  // of what is there now
  };

  // A file that is written beside its place and waits for the disk together with others.
  struct Waiting {
    std::size_t outlook = 0;  // place in outlooks_
    Target target;
    std::string temporary;
  };

  void open_roots();
  bool is_wanted(const KeptEntry& entry, const std::vector<Place>& wanted) const;
  void take(std::size_t number);
  void consider(const KeptEntry& entry, const Root& root, Outlook& outlook);
  Result<> find_target(const KeptEntry& entry, const Root& root, Target& target);
  Result<bool> is_there(const KeptEntry& entry, const Target& target) const;
  Result<bool> file_is_there(const KeptEntry& entry, const Target& target) const;
  Result<bool> holds_only_kept(const KeptEntry& entry, const Target& target) const;
  bool is_of_bare_repository(const KeptEntry& entry, const Root& root) const;
  const KeptEntry* kept_at(const Place& place) const;
  bool has_head(std::uint32_t share, const std::string& folder, const Root& root) const;
  void judge(const KeptEntry& entry, const Root& root, const Target& target, Outlook& outlook) const;
  Result<> carry_out(const KeptEntry& entry, const Root& root, Target target);
  void put_waiting();
  Result<> make_folder(const KeptEntry& entry, const Target& target);
  Result<> make_file(const KeptEntry& entry, const Root& root, const Target& target, const std::string& temporary);
  Result<> put(const Target& target, const KeptEntry& entry, const std::string& temporary);
  Result<> remove(const Target& target);
  std::uint32_t mode_of(const KeptEntry& entry, const Print& print) const;
  void clean(const sys::OwnedFd& parent, const Place& place);
  std::string temporary_name();
  void sync_folders();

  const Manifest& manifest_;
  const sys::OwnedFd& contents_;
  Mode mode_;
  std::set<Place> insisted_;
  std::vector<Root> roots_;
  std::set<Place> made_;     // look mode: folders that would be new and empty
  std::set<Place> blocked_;  // folders that are not taken over, and so nothing in them is
  std::set<Place> cleaned_;  // folders without temporary files; those to be synced
  std::vector<Outlook> outlooks_;
  std::vector<Waiting> waiting_;
  std::string prefix_;  // of temporary names
  std::uint64_t temporaries_ = 0;
  std::uint32_t umask_ = 0;
};

// Whether a link at `path`, relative to its share, stays within the share by its words alone: relative, ".." only at
// the beginning and not above the share.
bool stays_within(std::string_view path, std::string_view target);

}  // namespace weir::changes
