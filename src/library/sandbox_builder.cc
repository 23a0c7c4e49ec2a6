#include "weir/sandbox_builder.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "library/session_handle.h"
#include "library/words.h"
#include "session/starter.h"

namespace weir {

namespace {

// $WEIR_BIN, else the first `weir` on PATH that can be executed; empty where there is none.
std::string program_of_the_environment() {
  if (const char* const named = std::getenv("WEIR_BIN"); named != nullptr && *named != '\0') return named;
  const char* const path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string candidate = std::string(rest.substr(0, end)) + "/weir";
    // An empty entry would be the current folder: nothing is run from there by accident.
    if (end > 0 && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return {};
}

}  // namespace

SandboxBuilder& SandboxBuilder::add(const char* option, std::string value) {
  if (wrong_.empty() && value.find('\0') != std::string::npos) wrong_ = std::string(option) + ": a NUL in its value";
  // One word: a value that begins with a dash is no option.
  options_.push_back(std::string(option) + "=" + std::move(value));
  return *this;
}

SandboxBuilder& SandboxBuilder::network(Mode mode) {
  return add("--net", std::string(library::name_of(mode)));
}
SandboxBuilder& SandboxBuilder::allow(std::string target) {
  return add("--allow", std::move(target));
}
SandboxBuilder& SandboxBuilder::deny(std::string target) {
  return add("--deny", std::move(target));
}
SandboxBuilder& SandboxBuilder::policy_file(std::string path) {
  return add("--policy", std::move(path));
}
SandboxBuilder& SandboxBuilder::insist(std::string what) {
  return add("--insist", std::move(what));
}

SandboxBuilder& SandboxBuilder::port(std::uint16_t host, std::uint16_t guest) {
  return publish(std::to_string(host) + ":" + std::to_string(guest));
}
SandboxBuilder& SandboxBuilder::port_udp(std::uint16_t host, std::uint16_t guest) {
  return publish(std::to_string(host) + ":" + std::to_string(guest) + "/udp");
}
SandboxBuilder& SandboxBuilder::publish(std::string port) {
  return add("--publish", std::move(port));
}

SandboxBuilder& SandboxBuilder::mount(std::string host, std::string guest, Share share) {
  // The command line takes the two apart at colons, and would make something else of these.
  for (const std::string* path : {&host, &guest}) {
    if (wrong_.empty() && (!path->starts_with('/') || path->find(':') != std::string::npos)) {
      wrong_ = "mount " + *path + ": not absolute, or a colon in it";
    }
  }
  return add("--volume", std::move(host) + ":" + std::move(guest) + std::string(library::suffix_of(share)));
}

SandboxBuilder& SandboxBuilder::image(std::string name) {
  return add("--image", std::move(name));
}
SandboxBuilder& SandboxBuilder::from(std::string snapshot) {
  return add("--from", std::move(snapshot));
}
SandboxBuilder& SandboxBuilder::workdir(std::string path) {
  return add("--workdir", std::move(path));
}

SandboxBuilder& SandboxBuilder::env(std::string name, std::string value) {
  // Without '=' it would copy a variable of the caller.
  if (wrong_.empty() && (name.empty() || name.find('=') != std::string::npos)) wrong_ = "env " + name + ": no name";
  return add("--env", std::move(name) + "=" + std::move(value));
}

SandboxBuilder& SandboxBuilder::memory(std::string size) {
  return add("--memory", std::move(size));
}
SandboxBuilder& SandboxBuilder::cpus(double processors) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", processors);
  return add("--cpus", text);
}
SandboxBuilder& SandboxBuilder::processes(std::uint32_t most) {
  return add("--pids", std::to_string(most));
}
SandboxBuilder& SandboxBuilder::disk(std::string size) {
  return add("--disk", std::move(size));
}

SandboxBuilder& SandboxBuilder::name(std::string name) {
  return add("--name", std::move(name));
}
SandboxBuilder& SandboxBuilder::label(std::string key, std::string value) {
  return add("--label", std::move(key) + "=" + std::move(value));
}
SandboxBuilder& SandboxBuilder::lives(std::chrono::seconds duration) {
  return add("--ttl", std::to_string(duration.count()) + "s");
}
SandboxBuilder& SandboxBuilder::idles(std::chrono::seconds duration) {
  idles_ = duration;
  return *this;
}
SandboxBuilder& SandboxBuilder::program(std::string path) {
  program_ = std::move(path);
  return *this;
}

Expected<std::vector<std::string>> SandboxBuilder::command_line() const {
  if (!wrong_.empty()) return library::failed(wire::ErrorCode::bad_request, wrong_);
  std::vector<std::string> words = {program_.empty() ? program_of_the_environment() : program_};
  if (words.front().empty()) {
    return library::failed(wire::ErrorCode::unavailable, "`weir` is not on PATH", "install it, or set WEIR_BIN");
  }
  words.insert(words.end(), {"session", "create", "--output=json"});
  if (idles_.count() > 0) words.push_back("--idle=" + std::to_string(idles_.count()) + "s");
  words.insert(words.end(), options_.begin(), options_.end());
  return words;
}

Expected<Sandbox> SandboxBuilder::start() const {
  auto words = command_line();
  if (!words) return std::unexpected(std::move(words).error());
  WEIR_LIBRARY_TRY(session::Registry registry, session::Registry::open());
  registry.set_weir(words->front());
  WEIR_LIBRARY_TRY(wire::SessionInfo info, session::run_starter(*words));
  return Sandbox(std::make_unique<Sandbox::Session>(std::move(registry), std::move(info)));
}

}  // namespace weir
