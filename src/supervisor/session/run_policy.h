// The policy of one process of a session: what is in force there, and a layer more inside of it (policy.md section 3).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "policy/compiled/image.h"
#include "policy/text/narrow.h"
#include "sandbox/spec.h"
#include "sys/owned_fd.h"
#include "wire/session_error.h"
#include "wire/session_request.h"

namespace weir::supervisor {

struct RunPolicy {
  std::string mode;
  std::string hash;
  sandbox::Network network = sandbox::Network::loopback;
  std::shared_ptr<const sys::OwnedFd> image;  // sealed; empty where no gateway reads one
  std::vector<std::string> warnings;          // what the session allows only in part
  policy::Narrowing by;                       // to be put inside of a session that became narrower meanwhile

  // `session`: the policy in force; nullptr where `mode`, the session's, has no gateway and nothing is compiled for it.
  // The refusals name both modes, or the target (cannot_widen).
  static wire::Answer<RunPolicy> of(const wire::RunProcess& request, const policy::Image* session,
                                    const std::string& mode);
  // The same wish inside of `session`, which is narrower than it was.
  Result<RunPolicy> inside(const policy::Image& session) const;
};

}  // namespace weir::supervisor
