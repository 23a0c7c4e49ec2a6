// Shares become mounts.
//
// As root the mounts are taken by the supervisor, which may read what the caller may, and are mapped so that the owner
// of the source is the sandbox's user; as an ordinary user init takes them itself. Sources are opened without following
// links: what the refusal rules looked at is what is shared.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "sandbox/identity.h"
#include "sandbox/shares/placeholders.h"
#include "sandbox/spec.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

struct PreparedShare {
  Share share;
  sys::OwnedFd mount;  // taken by the supervisor; empty: init takes it by its path
};

// In the supervisor, before the clone. `placeholders` gets what stands in for protected paths that do not exist. What
// is a session's the caller puts in.
Result<std::vector<PreparedShare>> prepare_shares(const Spec& spec, const Identity& identity,
                                                  Placeholders& placeholders);

// Over other layers (is_layered()): the folder for those of shares, from the tmpfs whose size is the sandbox's: an
// image covers that one with an overlay, on which no other can lie. In init, take_layers() before the image is entered
// (an empty descriptor: nothing needs the others), make_place_for_layers() in the private layer, so that it covers what
// is below, put_layers() after it.
Result<sys::OwnedFd> take_layers(const Spec& spec);
Result<> make_place_for_layers();
Result<> put_layers(const sys::OwnedFd& layers);

// Gets the upper layer of an overlay, a folder, and the place of its share in Spec::shares.
using LayerTaker = std::function<Result<>(std::uint32_t share, const sys::OwnedFd& layer)>;

// In init, with the current folder at the new root and the host's root still "/". `taker`: called where
// Spec::shows_layers is set.
Result<> mount_shares(const std::vector<PreparedShare>& shares, const Spec& spec, const LayerTaker& taker);

}  // namespace weir::sandbox
