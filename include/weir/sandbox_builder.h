// What a sandbox shall be, and its start.
//
//   auto sandbox = weir::SandboxBuilder().network(weir::Mode::Allowlist).allow("pypi.org").port(8080, 80).start();
//   if (!sandbox) return complain(sandbox.error());
//   auto done = sandbox->shell("pip install requests");
//
// What is asked for is checked by weir when it starts, with the words that its command line has for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "weir/failure.h"
#include "weir/mode.h"
#include "weir/sandbox.h"

namespace weir {

// How a folder of this machine is shared.
enum class Share {
  ReadWrite,
  ReadOnly,
  Copy,     // a copy that goes with the sandbox
  Overlay,  // what is written goes into a private layer
};

class SandboxBuilder {
 public:
  // Default: None, or what the other options imply.
  SandboxBuilder& network(Mode mode);
  // Targets as in docs/policy.md: "pypi.org", "*.example.com:443", "@npm", "10.0.0.0/8".
  SandboxBuilder& allow(std::string target);
  SandboxBuilder& deny(std::string target);
  // A policy file of this machine; the options above add to it.
  SandboxBuilder& policy_file(std::string path);
  // What weir otherwise refuses, named one by one: "broad=*.com".
  SandboxBuilder& insist(std::string what);

  // 127.0.0.1:`host` leads to `guest` inside; host 0: any free port, which Sandbox::ports() names.
  SandboxBuilder& port(std::uint16_t host, std::uint16_t guest);
  SandboxBuilder& port_udp(std::uint16_t host, std::uint16_t guest);
  // The same with whatever `weir run -p` takes: "0.0.0.0:8080:80".
  SandboxBuilder& publish(std::string port);

  // Paths are absolute.
  SandboxBuilder& mount(std::string host, std::string guest, Share share = Share::ReadWrite);
  // A root file system by name or path; default: the host's /usr.
  SandboxBuilder& image(std::string name);
  // A snapshot or image to start from.
  SandboxBuilder& from(std::string snapshot);
  SandboxBuilder& workdir(std::string path);
  SandboxBuilder& env(std::string name, std::string value);

  // As the command line: "512M", 1.5, 256, "1G".
  SandboxBuilder& memory(std::string size);
  SandboxBuilder& cpus(double processors);
  SandboxBuilder& processes(std::uint32_t most);
  SandboxBuilder& disk(std::string size);

  SandboxBuilder& name(std::string name);
  SandboxBuilder& label(std::string key, std::string value);
  // Ends it so long after its start, whatever it does.
  SandboxBuilder& lives(std::chrono::seconds duration);
  // Ends it after so long without a command; one day unless it is said, so that a program that was killed leaves
  // nothing for ever. 0: never.
  SandboxBuilder& idles(std::chrono::seconds duration);

  // The weir to run; default: $WEIR_BIN, else `weir` on PATH.
  SandboxBuilder& program(std::string path);

  // What is run to start it: the program and its arguments. Failure "bad_request": something that no command line can
  // say.
  Expected<std::vector<std::string>> command_line() const;
  // Starts it and waits until it stands. The sandbox ends with its handle.
  Expected<Sandbox> start() const;

 private:
  SandboxBuilder& add(const char* option, std::string value);
  std::vector<std::string> options_;
  std::chrono::seconds idles_{86400};
  std::string program_;
  std::string wrong_;  // the first thing that cannot be said
};

}  // namespace weir
