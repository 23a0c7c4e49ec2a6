// Runs a line of shell that nobody has read, without a network, on a copy of a folder: untrusted FOLDER LINE
#include <weir/weir.h>

#include <cstdio>

namespace {

int complain(const weir::Failure& failure) {
  std::fprintf(stderr, "%s: %s\n", failure.code.c_str(), failure.message.c_str());
  if (!failure.remedy.empty()) std::fprintf(stderr, "  %s\n", failure.remedy.c_str());
  return 125;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s FOLDER LINE\n", argv[0]);
    return 2;
  }
  const auto sandbox = weir::SandboxBuilder()
                           .network(weir::Mode::None)
                           .mount(argv[1], "/work", weir::Share::Copy)
                           .workdir("/work")
                           .memory("512M")
                           .processes(64)
                           .start();
  if (!sandbox) return complain(sandbox.error());

  if (const auto put = sandbox->put("/work/note.txt", "put there from outside\n"); !put) return complain(put.error());
  const auto done = sandbox->shell(argv[2], {.timeout = std::chrono::seconds(30)});
  if (!done) return complain(done.error());

  std::fwrite(done->out.data(), 1, done->out.size(), stdout);
  std::fwrite(done->err.data(), 1, done->err.size(), stderr);
  for (const weir::Refusal& refusal : done->refused) {
    std::fprintf(stderr, "refused: %s (%s)\n", refusal.destination.c_str(), refusal.reason.c_str());
  }
  return done->exit_code;
}
