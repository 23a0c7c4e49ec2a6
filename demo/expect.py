"""What a policy means for the demo's attempts, computed without weir: the table is checked against this.

Understands the small part of the language that the demo needs (names, addresses and CIDRs in `allow`, mode allowlist)
and says so when a policy has more.
"""

import ipaddress
import tomllib


class NotUnderstood(Exception):
    pass


class Policy:
    def __init__(self, path):
        with open(path, "rb") as file:
            data = tomllib.load(file)
        unknown = set(data) - {"version", "mode", "allow"}
        if unknown or data.get("mode", "allowlist") != "allowlist":
            raise NotUnderstood(f"the demo's own check understands mode = \"allowlist\" with allow = [...] only, not "
                                f"{', '.join(sorted(unknown)) or data['mode']}")
        self.entries = [self._entry(text) for text in data.get("allow", [])]

    @staticmethod
    def _entry(text):
        proto, _, rest = text.rpartition("://")
        if text.startswith("@") or "," in text:
            raise NotUnderstood(f"the demo's own check does not understand {text}")
        host, port = rest, None
        if rest.startswith("["):
            host, _, port = rest[1:].partition("]")
            port = port.lstrip(":")
        elif rest.count(":") == 1:
            host, port = rest.split(":")
        try:
            host = ipaddress.ip_network(host)
            protos = {proto} if proto else {"tcp", "udp", "icmp"}
        except ValueError:
            host = host.lower().rstrip(".")
            protos = {proto or "tcp"}
        return protos, host, int(port) if port else None

    def _matches_name(self, pattern, name):
        if not isinstance(pattern, str):
            return False
        if pattern.startswith("*."):
            return name.endswith(pattern[1:])
        if pattern.startswith("."):
            return name == pattern[1:] or name.endswith(pattern)
        return name == pattern

    def allows_name(self, name, proto="tcp", port=None):
        return any(proto in protos and port in (None, entry_port or port) and self._matches_name(host, name)
                   for protos, host, entry_port in self.entries)

    def allows_address(self, address, proto, port):
        """By an entry that names the address itself. 0.0.0.0/0 opens only what is public: such entries are not for
        the addresses that the demo tries."""
        value = ipaddress.ip_address(address)
        return any(proto in protos and port == (entry_port or port) and not isinstance(host, str) and
                   value.version == host.version and value in host and (value.is_global or host.is_private)
                   for protos, host, entry_port in self.entries)
