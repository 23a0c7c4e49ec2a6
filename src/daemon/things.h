// Whose a session or a snapshot is, from before its making until it is gone.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/daemon.h"

namespace weir::daemon {

// One that is being made. Its id is chosen here, so that its row is there before it: a daemon or a command that is
// killed in the middle leaves nothing that belongs to nobody.
class NewThing {
 public:
  NewThing(Daemon& daemon, Owned kind, std::string id, const Principal& who);
  NewThing(NewThing&& other) noexcept;
  NewThing& operator=(NewThing&&) = delete;
  ~NewThing();

  const std::string& id() const { return id_; }
  // How it went; without a word the row stays for what may still come of it (kMayComeSeconds).
  wire::Answer<> is_made();
  void failed();

 private:
  Daemon* daemon_;
  Owned kind_;
  std::string id_;
};

// After so long nothing comes of a making that was not heard of again.
inline constexpr std::int64_t kMayComeSeconds = 3600;

// An error: it is not known.
using IsThere = std::function<Result<bool>(const std::string& id)>;

// A token's things that are there, are being made, may still come, or of which nothing is known. Rows of others go.
wire::Answer<std::vector<Store::Thing>> present_things(Daemon& daemon, Owned kind, const Principal& who,
                                                       const IsThere& is_there);

// Notes the one that is to be made, under a name of the token's own (or none). The machine's owner gets an id only for
// being counted: names are the registry's there. `name_taken`: this token has one of that name. `bad_request`: it could
// be taken for an id. `internal`: it is not known what is there.
wire::Answer<NewThing> begin_thing(Daemon& daemon, Owned kind, const Principal& who, const std::string& name,
                                   const IsThere& is_there);

}  // namespace weir::daemon
