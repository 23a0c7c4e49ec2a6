"""The last part of the demo: pip really installs a package, under an allowlist of the index that pip itself is
configured for, and the same install is refused under mode `none`.

No index is named here: pip is asked which hosts it talks to. Where none is reachable, this part says so and is left out.
"""

import ipaddress
import os
import re
import socket
import subprocess
import sys

PACKAGE = "idna"  # small, pure Python, no dependencies
TALKS_TO = re.compile(r"Starting new HTTPS? connection \(\d+\): ([^\s:]+)(?::(\d+))?")


def _pip(*args, **options):
    return subprocess.run([sys.executable, "-m", "pip", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **options)


def hosts(folder):
    """[(host, port)] that pip talks to for this package, or [] if no index answers."""
    try:
        done = _pip("download", "-vvv", "--no-cache-dir", "--no-deps", "--no-input", "--retries", "0", "--timeout", "8",
                    "-d", str(folder), PACKAGE, timeout=60)
    except subprocess.TimeoutExpired:
        return []
    if done.returncode:
        return []
    return sorted({(host, int(port or 443)) for host, port in TALKS_TO.findall(done.stdout)})


def special_addresses(name, port):
    """Addresses of a configured index that no name may open (policy.md section 3): a mirror on a private network."""
    try:
        found = {item[4][0] for item in socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM)}
    except socket.gaierror:
        return []
    return sorted(address for address in found if not ipaddress.ip_address(address).is_global)


def settings():
    """pip's own configuration, as the environment variables that carry it into the sandbox."""
    listed = _pip("config", "list").stdout
    out = []
    for line in listed.splitlines():
        match = re.match(r"(?:global|install|:env:|site|user)\.([a-z-]+)='(.*)'$", line.strip())
        if match and match.group(1) in ("index-url", "extra-index-url", "trusted-host", "cert", "default-timeout"):
            out += ["-e", f"PIP_{match.group(1).upper().replace('-', '_')}={match.group(2)}"]
    return out


def targets(folder):
    out = []
    for host, port in hosts(folder):
        out.append(f"{host}:{port}")
        for address in special_addresses(host, port):
            print(f"  {host} is at {address}, a special-purpose address that no name opens: opened by itself as well")
            out.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    return out


def _install(weir, flags):
    command = ["/usr/bin/python3", "-m", "pip", "install", "--user", "--no-cache-dir", "--no-input", "--retries", "0",
               "--disable-pip-version-check", "--no-warn-script-location", "--no-deps", "--ignore-installed", PACKAGE]
    done = subprocess.run([weir, "run", *flags, *settings(), "--", *command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=180, stdin=subprocess.DEVNULL)
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("weir:")]
    return done.returncode, lines


def demonstrate(weir, folder):
    print("\nA package, really installed:")
    allow = targets(folder)
    if not allow:
        print("  left out: pip reaches no package index from here")
        return 0
    flags = [flag for target in allow for flag in ("--allow", target)]
    print(f"  under an allowlist of the {len(allow)} targets that pip's own index needs:")
    code, lines = _install(weir, flags)
    print(f"    exit {code}: {lines[-1] if lines else ''}")
    installed = code == 0 and any("Successfully installed" in line for line in lines)
    if not installed:
        print("\n".join("    " + line for line in lines[-12:]))
    none_code, none_lines = _install(weir, ["-n", "none"])
    print(f"  under -n none:\n    exit {none_code}: {none_lines[-1] if none_lines else ''}")
    if installed and none_code != 0:
        return 0
    print("  this contradicts the policy" if none_code == 0 else "  the install should have worked")
    return 1
