"""QUIC of a real client and a real server (ngtcp2's), HTTP/3 in it. issue 4 "UDP"; policy.md section 4."""

import pathlib
import shutil

import pytest

import world as w
from checks import TWINS

PORT = 8443  # beside the lab's own servers
PAGE = b"over QUIC " * 40_000  # many datagrams, both ways


@pytest.fixture(scope="module")
def quic(world):
    for program in ("gtlsserver", "gtlsclient"):
        if not shutil.which(program, path="/usr/sbin:/usr/bin"):
            pytest.skip(f"{program} is not installed (ngtcp2-server, ngtcp2-client)")
    pages = pathlib.Path(world.folder) / "quic"
    pages.mkdir(exist_ok=True)
    (pages / "page").write_bytes(PAGE)
    key, certificate = world.pki / "key.pem", world.pki / "cert.pem"
    servers = [world.inet.start(["/usr/sbin/gtlsserver", "-q", "-d", str(pages), address, str(PORT), str(key), str(certificate)],
                                ready=None) for address in (w.ALLOWED4, w.ALLOWED6, w.EVIL4, w.EVIL6)]
    yield
    for server in servers:
        server.kill()
        server.wait()


def fetch(name, port=PORT, patience="8s"):
    """A command that gets the page by HTTP/3 and says how long it was."""
    return (f"gtlsclient -q --exit-on-all-streams-close --handshake-timeout={patience} --timeout={patience} --download=/tmp "
            f"{name} {port} https://{name}:{port}/page && wc -c </tmp/page")


@TWINS
def test_by_name(lab, quic, verdict):
    """The name opens its addresses on the port that the rule names; a whole page comes through one flow."""
    port = PORT if verdict == "allow" else PORT + 1
    out = lab.run("sh", "-c", fetch("allowed.test", patience="2s" if verdict == "refuse" else "8s"),
                  allow=[f"udp://allowed.test:{port}"])
    if verdict == "allow":
        assert out.code == 0 and out.stdout.split() == [str(len(PAGE))], out
        closed = out.of_type("flow.close", proto="udp", port=PORT, name="allowed.test")
        assert len(closed) == 1 and closed[0]["bytes_down"] > len(PAGE), out
    else:
        assert str(len(PAGE)) not in out.stdout, out
        assert lab.world.packets_to(w.ALLOWED4, PORT) == lab.world.packets_to(w.ALLOWED6, PORT) == 0, out
        assert {event["reason"] for event in out.refusals(proto="udp", port=PORT)} == {"no-rule"}, out
        assert not out.of_type("flow.open", proto="udp"), out


@TWINS
def test_by_address(lab, quic, verdict):
    dst = w.ALLOWED4 if verdict == "allow" else w.EVIL4
    out = lab.run("sh", "-c", fetch(dst, patience="2s" if verdict == "refuse" else "8s"), allow=[f"udp://{w.ALLOWED4}:{PORT}"])
    if verdict == "allow":
        assert out.code == 0 and out.stdout.split() == [str(len(PAGE))], out
    else:
        assert str(len(PAGE)) not in out.stdout, out
        assert lab.world.packets_to(dst, PORT) == 0 and not out.of_type("flow.open"), out
        assert {event["reason"] for event in out.refusals(dst=dst, port=PORT, proto="udp")} == {"no-rule"}, out


def test_migration(lab, quic):
    """The client goes on from another port of its own: another flow, to the same peer."""
    out = lab.run("sh", "-c", fetch("allowed.test").replace("-q ", "-q --change-local-addr=1ms --delay-stream=50ms "),
                  allow=[f"udp://allowed.test:{PORT}"])
    assert out.code == 0 and out.stdout.split() == [str(len(PAGE))], out
    assert len(out.of_type("flow.open", proto="udp", port=PORT, name="allowed.test")) == 2, out


@pytest.mark.refusal
def test_fallback_to_tcp(lab, quic):
    """Where a name is denied, QUIC's 443 does not pass by class: its client gives up and takes TCP, which does."""
    script = f"{fetch('evil.test', 443, '4s')} || curl -sS -m 10 --cacert /ca.pem https://evil.test/ -o /dev/null -w '%{{http_code}}'"
    out = lab.run("sh", "-c", script, mode="public", deny=["tracker.test"], extra=["-v", f"{lab.world.pki}/ca.pem:/ca.pem:ro"])
    assert out.code == 0 and out.stdout == "200", out
    assert lab.world.packets.payload_to(w.EVIL4, 443) + lab.world.packets.payload_to(w.EVIL6, 443) > 0, out
    assert {event["reason"] for event in out.refusals(proto="udp", port=443)} == {"protocol"}, out
    assert out.of_type("flow.open", proto="tcp", port=443) and not out.of_type("flow.open", proto="udp"), out
