#include "image/ids.h"

#include <unistd.h>

#include <charconv>
#include <utility>

#include "sys/files.h"

namespace weir::image {
namespace {

constexpr std::size_t kMaxTable = 16 * 1024 * 1024;  // /etc/passwd and /etc/subuid of a large site

std::optional<std::uint32_t> subordinate(const char* path, const std::string& passwd) {
  const auto table = sys::read_file(path, kMaxTable);
  return table ? sys::subordinate_ids(*table, passwd, ::geteuid(), kIdCount) : std::nullopt;
}

// Id n inside is n above `first`, except that one id inside is the caller.
std::vector<sys::IdRange> around_caller(std::uint32_t first, std::uint32_t caller) {
  return {{.inside = 0, .outside = first, .count = kCallerInside},
          {.inside = kCallerInside, .outside = caller, .count = 1},
          {.inside = kCallerInside + 1, .outside = first + kCallerInside + 1, .count = kIdCount - kCallerInside - 1}};
}

Ids only_caller() {
  return Ids{.kind = Ids::Kind::one,
             .maps = {.uids = {{.inside = 0, .outside = ::geteuid(), .count = 1}},
                      .gids = {{.inside = 0, .outside = ::getegid(), .count = 1}}}};
}

}  // namespace

std::string Ids::text() const {
  switch (kind) {
    case Kind::root:
      return "root";
    case Kind::one:
      return "one";
    case Kind::subids:
      break;
  }
  return "subids:" + std::to_string(maps.uids.front().outside) + ":" + std::to_string(maps.gids.front().outside);
}

Result<> Ids::apply_to(pid_t process) const {
  return kind == Kind::subids ? sys::write_id_maps_by_helpers(process, maps) : sys::write_id_maps(process, maps);
}

Result<Ids> ids_of_stored(const std::string& text, const Ids& now) {
  if (text == now.text()) return now;
  if (text == "one") return only_caller();
  return fail("its files belong to user ids (" + text + ") that you do not have now (" + now.text() + ")", EPERM);
}

Result<OwnerIds> ids_of_unmapped() {
  OwnerIds ids;
  for (auto [name, id] : {std::pair("uid", &ids.uid), std::pair("gid", &ids.gid)}) {
    const std::string path = std::string("/proc/sys/kernel/overflow") + name;
    WEIR_TRY(const std::string text, sys::read_file(path, 32));
    if (std::from_chars(text.data(), text.data() + text.size(), *id).ec != std::errc())
      return fail(path + " holds no number");
  }
  return ids;
}

Result<Ids> ids_of_caller() {
  // As sandbox/identity.cc: a root that does not have all those ids is treated as an ordinary user.
  if (sys::owns_ids(kStoredFirst, 0x8000'0000u - kStoredFirst)) {
    const std::vector<sys::IdRange> all = {{.inside = 0, .outside = kStoredFirst, .count = kIdCount}};
    return Ids{.kind = Ids::Kind::root, .maps = {.uids = all, .gids = all}};
  }
  const auto passwd = sys::read_file("/etc/passwd", kMaxTable);
  const auto uids = subordinate("/etc/subuid", passwd.value_or(""));
  const auto gids = subordinate("/etc/subgid", passwd.value_or(""));
  if (uids && gids && ::access("/usr/bin/newuidmap", X_OK) == 0 && ::access("/usr/bin/newgidmap", X_OK) == 0) {
    return Ids{.kind = Ids::Kind::subids,
               .maps = {.uids = around_caller(*uids, ::geteuid()), .gids = around_caller(*gids, ::getegid())}};
  }
  return only_caller();
}

}  // namespace weir::image
