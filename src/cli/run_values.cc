// The values of single options of `weir run`.
#include <algorithm>
#include <array>
#include <cstdint>

#include "cli/run_plan.h"

namespace weir::cli {
namespace {

constexpr std::uint32_t kMaxUid = 65533;
constexpr std::size_t kMaxName = 63;    // a host name label: the name may become one
constexpr std::size_t kMaxPath = 4095;  // PATH_MAX without its NUL

std::unexpected<Error> bad_value(std::string what, std::string remedy) {
  return std::unexpected(Error(std::move(what)).with_remedy(std::move(remedy)));
}

std::optional<std::uint32_t> number(std::string_view text) {
  if (text.empty() || text.size() > 5) return std::nullopt;
  std::uint32_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return value;
}

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

}  // namespace

Result<sandbox::User> parse_user(std::string_view text) {
  sandbox::User root{.uid = 0, .gid = 0, .name = "root", .home = "/root"};
  if (text == "root") return root;
  if (text == "sandbox") return sandbox::User{};
  const auto uid = number(text);
  if (!uid || *uid > kMaxUid) {
    return bad_value("option --user: '" + std::string(text) + "' is no user inside",
                     "write root, sandbox, or a number from 0 to " + std::to_string(kMaxUid));
  }
  if (*uid == 0) return root;
  sandbox::User user;
  user.uid = *uid;
  user.gid = *uid;
  return user;
}

Result<supervisor::EventsSink> parse_events(std::string_view text, std::string_view folder) {
  using Kind = supervisor::EventsSink::Kind;
  if (text == "-") return supervisor::EventsSink{.kind = Kind::standard_output, .path = {}};
  if (text == "none") return supervisor::EventsSink{.kind = Kind::none, .path = {}};
  Result<std::string> path = absolute_path(text, folder);
  if (!path) return std::unexpected(std::move(path).error().context("option --events"));
  return supervisor::EventsSink{.kind = Kind::file, .path = std::move(*path)};
}

Result<std::string> parse_name(std::string_view text) {
  const bool good =
      !text.empty() && text.size() <= kMaxName && is_alphanumeric(text.front()) &&
      std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
  if (good) return std::string(text);
  return bad_value("option --name: '" + std::string(text) + "' is no name of a sandbox",
                   "write 1 to 63 letters, digits, '_', '.' or '-', a letter or digit first");
}

Result<net::Cidr> parse_subnet(std::string_view text) {
  constexpr unsigned kLength = 16;
  const auto subnet = net::Cidr::parse(text);
  const std::array<net::Cidr, 3> usable = {net::Cidr::of(net::IpAddress::v4({10, 0, 0, 0}), 8),
                                           net::Cidr::of(net::IpAddress::v4({172, 16, 0, 0}), 12),
                                           net::Cidr::of(net::IpAddress::v4({192, 168, 0, 0}), 16)};
  if (subnet && subnet->length() == kLength &&
      std::ranges::any_of(usable, [&](const net::Cidr& range) { return range.contains(*subnet); }))
    return *subnet;
  return bad_value("option --subnet: '" + std::string(text) + "' is not a private IPv4 /16",
                   "write one of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, such as 10.253.0.0/16");
}

Result<std::string> parse_workdir(std::string_view text) {
  if (!text.starts_with('/')) {
    return bad_value("option --workdir: '" + std::string(text) + "' is not absolute",
                     "write the path as it is inside, such as /data");
  }
  Result<std::string> path = absolute_path(text, "/");
  if (!path) return std::unexpected(std::move(path).error().context("option --workdir"));
  return path;
}

Result<std::string> absolute_path(std::string_view path, std::string_view folder) {
  if (path.empty()) return bad_value("the path is empty", "write a path");
  if (path.find('\0') != std::string_view::npos) return fail("the path contains a NUL byte");
  if (!path.starts_with('/') && folder.empty()) {
    return bad_value("'" + std::string(path) + "': the current folder is gone", "write an absolute path");
  }
  // Not shortened: "a/../b" leads elsewhere when a is a link, and only the kernel knows.
  std::string whole = path.starts_with('/') ? std::string(path) : std::string(folder) + "/" + std::string(path);
  if (whole.size() > kMaxPath) return fail("the path is longer than " + std::to_string(kMaxPath) + " bytes");
  return whole;
}

}  // namespace weir::cli
