"""Where the race took place: kernel, processor, settings, and the version of everything that took part."""

import os
import pathlib
import platform
import re
import subprocess
import time

_VERSIONS = {
    "weir": [["weir", "version"]], "bubblewrap": [["bwrap", "--version"]], "firejail": [["firejail", "--version"]],
    "crun": [["crun", "--version"]], "podman": [["podman", "--version"]], "pasta": [["dpkg-query", "-W", "-f=passt ${Version}", "passt"]],
    "slirp4netns": [["slirp4netns", "--version"]], "dnsmasq": [["dnsmasq", "--version"]],
    "unbound": [["unbound", "-V"]], "squid": [["squid", "--version"]], "tinyproxy": [["tinyproxy", "-v"]],
    "iperf3": [["iperf3", "--version"]], "dnsperf": [["dpkg-query", "-W", "-f=dnsperf ${Version}", "dnsperf"]],
    "sandbox-runtime": [["build/bench-peers/node_modules/.bin/srt", "--version"]],
}


def describe(field):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1))
    congestion = ", ".join(f"{name} {value}" for name, value in field.congestion().items())
    return {"kernel": platform.release(), "processor": f"{cpu.group(1) if cpu else platform.machine()}, "
            f"{len(os.sched_getaffinity(0))} cores shared by load, contender and server",
            "memory": f"{memory / 2 ** 20:.0f} GiB", "congestion control": f"{congestion}; inside weir and the bare relay reno",
            "identity": f"uid {field.identity[0]}" if field.identity else "root"}


def busy_percent(seconds=0.5):
    """How much of the processors others use while the suite only waits."""
    def read():
        numbers = [int(text) for text in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]
    total, idle = read()
    time.sleep(seconds)
    total_after, idle_after = read()
    return 100 * (1 - (idle_after - idle) / max(1, total_after - total))


def versions(field):
    """{name: first line of what it says about itself, or "not installed"}"""
    out = {}
    for name, (argv,) in _VERSIONS.items():
        if name == "weir":
            argv = [field.tool("weir"), "version"]
        try:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
            lines = [line.strip() for line in done.stdout.splitlines() if line.strip() and "syslog" not in line]
            out[name] = lines[0] if lines else "says nothing"
        except (OSError, subprocess.TimeoutExpired):
            out[name] = "not installed"
    return out
