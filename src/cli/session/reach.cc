#include "cli/session/reach.h"

namespace weir::cli {

Error error_of(wire::Refusal refusal) {
  return Error(std::move(refusal.message)).with_remedy(std::move(refusal.remedy));
}

}  // namespace weir::cli
