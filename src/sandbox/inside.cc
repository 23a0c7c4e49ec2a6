#include "sandbox/inside.h"

namespace weir::sandbox {

namespace {

std::unexpected<Error> missing() {
  return fail("not there yet", ENOSYS);
}

}  // namespace

Inside::Inside(sys::Reactor&, Send) {}
Inside::~Inside() = default;

Inside::Id Inside::start(const Program&, Stdio, OnBegun on_begun, OnEnded) {
  on_begun(missing());
  return 0;
}
void Inside::signal(Id, int) {}
void Inside::resize(Id, std::uint16_t, std::uint16_t) {}
std::size_t Inside::processes() const {
  return 0;
}
Inside::Id Inside::files(const FileTask&, OnAnswer on_answer, OnDone) {
  on_answer(missing());
  return 0;
}
void Inside::commit(Id) {}
void Inside::abandon(Id) {}
void Inside::freeze(OnDone on_done) {
  on_done(missing());
}
void Inside::thaw() {}

}  // namespace weir::sandbox
