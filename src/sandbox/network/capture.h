// Makes a fresh network namespace lead to two descriptors and nowhere else (dataplane.md section 1).
#pragma once

#include "base/error.h"
#include "net/ip_address.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// The addresses of weir0 inside the sandbox. `guest4`/`guest6` are A4/A6 of dataplane.md; `gateway4`/`gateway6` are the
// other ends of the /30 and the /126: resolver, proxies.
struct CaptureAddresses {
  net::IpAddress guest4;
  net::IpAddress gateway4;
  net::IpAddress guest6;
  net::IpAddress gateway6;
  // host.weir.internal: stands for the host's loopback where the policy allows it.
  net::IpAddress host4;
  net::IpAddress host6;

  // Where nothing else is said: out of weir's own /16 and ULA. Every namespace may use the same ones, for nothing leads
  // from one to another.
  static CaptureAddresses defaults();
  // `subnet`: an IPv4 /16 that the machine does not use otherwise; what is in it cannot be reached from inside.
  static CaptureAddresses in(const net::Cidr& subnet);
};

struct Capture {
  sys::OwnedFd listener;  // transparent, dual stack, listening
  sys::OwnedFd tun;       // weir0, non-blocking, packets without a header (IFF_NO_PI)
};

// Call in the new network namespace, with CAP_NET_ADMIN over it, before the root changes (it opens /dev/net/tun and
// writes /proc/sys/net). After it returns the namespace captures everything; the first instruction of untrusted code
// comes later.
Result<Capture> set_up_capture(const CaptureAddresses& addresses);

// The part of it that is nftables: one transaction, no device and no route (bench/tools/capture_cost.cc measures it).
Result<> install_capture_rules(const CaptureAddresses& addresses);

// Brings `lo` up: what modes `none` and `inbound` have instead of a capture.
Result<> set_up_loopback();

}  // namespace weir::sandbox
