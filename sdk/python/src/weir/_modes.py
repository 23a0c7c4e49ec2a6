"""What the network of a sandbox is: modes and published ports."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal


class NetworkMode(str, enum.Enum):
    """What a sandbox reaches. Wherever a mode is asked for, its value or one of the aliases is accepted as a string too.

    `NetworkMode("blocked")` and the other aliases of `docs/policy.md` give the member they stand for.
    """

    NONE = "none"
    """Its own loopback and nothing else. Also "blocked", "zerotrust", "off"."""
    MOUNTS_ONLY = "inbound"
    """As NONE, plus published ports, which lead in. Also "mounts", "mounts_only"."""
    ALLOWLIST = "allowlist"
    """What the allowlist names."""
    PUBLIC = "public"
    """Every globally reachable address; nothing private. Also "public_only", and "denylist" together with a denylist."""
    SEMITRUSTED = "semitrusted"
    """As PUBLIC on TCP 80 and 443 only, with limits on rates and volume."""
    OPEN = "open"
    """Everything but the denylist and the hard floor. Also "allow_all", "full"."""
    FULL = "open"

    @classmethod
    def _missing_(cls, value: object) -> NetworkMode | None:
        return _ALIASES.get(value) if isinstance(value, str) else None

    def __str__(self) -> str:
        return str(self.value)


_ALIASES = {
    "blocked": NetworkMode.NONE,
    "zerotrust": NetworkMode.NONE,
    "off": NetworkMode.NONE,
    "mounts": NetworkMode.MOUNTS_ONLY,
    "mounts_only": NetworkMode.MOUNTS_ONLY,
    "public_only": NetworkMode.PUBLIC,
    "denylist": NetworkMode.PUBLIC,
    "allow_all": NetworkMode.OPEN,
    "full": NetworkMode.OPEN,
}


@dataclass(frozen=True)
class PortForward:
    """A port of the host that leads to one inside.

    host   port on the host; 0 takes any free one (`sandbox.info.ports` says which)
    guest  port inside, on the sandbox's own loopback
    proto  "tcp" or "udp"
    bind   address of the host to listen on; the default is reachable from this machine only
    """

    host: int
    guest: int
    proto: Literal["tcp", "udp"] = "tcp"
    bind: str = "127.0.0.1"

    def __post_init__(self) -> None:
        if not 0 <= self.host <= 65535 or not 1 <= self.guest <= 65535:
            raise ValueError(f"{self.host}:{self.guest} is no pair of ports: the host's is 0 to 65535, the guest's 1 to 65535")
        if self.proto not in ("tcp", "udp"):
            raise ValueError(f'{self.proto!r} is no protocol of a published port: "tcp" or "udp"')

    def __str__(self) -> str:
        bind = f"[{self.bind}]" if ":" in self.bind else self.bind
        return f"{bind}:{self.host}:{self.guest}" + ("/udp" if self.proto == "udp" else "")
