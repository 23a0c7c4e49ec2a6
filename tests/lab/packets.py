"""Packet ground truth: what really arrived in a namespace, counted by the kernel.

One nftables table per namespace counts every packet that comes in, per destination address, protocol and port, before
any socket sees it. Counting in the kernel (not with a sniffer in Python) loses nothing under load.
"""

import json

_WATCH = """
table inet watch {
  set s4 { type ipv4_addr . inet_proto . inet_service; flags dynamic; size 65535; counter; }
  set s6 { type ipv6_addr . inet_proto . inet_service; flags dynamic; size 65535; counter; }
  set i4 { type ipv4_addr . inet_proto; flags dynamic; size 65535; counter; }
  set i6 { type ipv6_addr . inet_proto; flags dynamic; size 65535; counter; }
  set d4 { type ipv4_addr . inet_service; flags dynamic; size 65535; counter; }
  set d6 { type ipv6_addr . inet_service; flags dynamic; size 65535; counter; }
  chain pre { type filter hook prerouting priority -300;
    iifname %(others)s return
    meta nfproto ipv4 meta l4proto { tcp, udp } update @s4 { ip daddr . meta l4proto . th dport }
    meta nfproto ipv6 meta l4proto { tcp, udp } update @s6 { ip6 daddr . meta l4proto . th dport }
    meta nfproto ipv4 meta l4proto != { tcp, udp } update @i4 { ip daddr . meta l4proto }
    meta nfproto ipv6 meta l4proto != { tcp, udp, ipv6-icmp } update @i6 { ip6 daddr . meta l4proto }
    icmpv6 type echo-request update @i6 { ip6 daddr . meta l4proto }
    tcp doff . ip length { %(data4)s } update @d4 { ip daddr . tcp dport }
    tcp doff . ip6 length { %(data6)s } update @d6 { ip6 daddr . tcp dport }
  }
}
"""


def _with_data(ip_header):
    """What a segment with data is: longer than its headers. PSH says nothing, a sender may leave it out."""
    return ", ".join(f"{words} . {ip_header + 4 * words + 1}-65535" for words in range(5, 16))


class Packets:
    """The counters of one node. `loopback_only` watches a host's own services instead of its links."""

    def __init__(self, node, loopback_only=False):
        self._node = node
        rule = _WATCH % {"others": '!= "lo"' if loopback_only else '"lo"', "data4": _with_data(20), "data6": _with_data(0)}
        node.run(["nft", "-f", "-"], input=rule, check=True)

    def reset(self):
        script = "".join(f"flush set inet watch {name}\n" for name in ("s4", "s6", "i4", "i6", "d4", "d6"))
        self._node.run(["nft", "-f", "-"], input=script, check=True)

    def _elements(self, *names):
        for name in names:
            out = self._node.run(["nft", "-j", "list", "set", "inet", "watch", name], check=True).stdout
            for item in json.loads(out)["nftables"]:
                for element in item.get("set", {}).get("elem", []):
                    inner = element["elem"]
                    yield inner["val"]["concat"], inner["counter"]["packets"]

    def to(self, address, port=None, proto=None):
        """Packets that arrived for this address (and port, and protocol)."""
        total = 0
        for value, packets in self._elements("s4", "s6"):
            if value[0] == address and port in (None, value[2]) and proto in (None, value[1]):
                total += packets
        if port is None:
            for value, packets in self._elements("i4", "i6"):
                if value[0] == address and proto in (None, value[1]):
                    total += packets
        return total

    def payload_to(self, address, port):
        """TCP segments with data."""
        return sum(n for value, n in self._elements("d4", "d6") if value == [address, port])

    def everything(self):
        """{(address, proto, port or None): packets}"""
        seen = {}
        for value, packets in self._elements("s4", "s6"):
            seen[(value[0], value[1], value[2])] = packets
        for value, packets in self._elements("i4", "i6"):
            seen[(value[0], str(value[1]), None)] = packets
        return seen
