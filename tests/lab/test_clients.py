"""Real programs through the sandbox: clients that people use, servers that exist."""

import base64
import hashlib
import os
import subprocess
import zipfile

import pytest

import world as w
from checks import TWINS


@pytest.fixture
def ca(lab):
    return ["-v", f"{lab.world.pki}/ca.pem:/ca.pem:ro"]


@TWINS
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("family", ["-4", "-6"])
def test_curl(lab, ca, verdict, scheme, family):
    name = "allowed.test" if verdict == "allow" else "evil.test"
    out = lab.run("curl", family, "-sS", "--cacert", "/ca.pem", "-m", "10", f"{scheme}://{name}/", allow=["allowed.test"], extra=ca)
    if verdict == "allow":
        assert out.code == 0 and f"served {name}" in out.stdout, out
    else:
        assert out.code == 6, out  # could not resolve host
        assert lab.world.packets_to(w.EVIL4) == lab.world.packets_to(w.EVIL6) == 0


@pytest.mark.refusal
def test_curl_tricks(lab, ca):
    """--resolve, --connect-to, --dns-servers-like and Host games: nothing gets through."""
    tricks = [["--resolve", f"allowed.test:80:{w.EVIL4}", "http://allowed.test/"],
              ["--connect-to", f"allowed.test:80:{w.EVIL4}:80", "http://allowed.test/"],
              ["-H", "Host: evil.test", f"http://{w.EVIL4}/"], ["--http2-prior-knowledge", f"http://{w.EVIL4}/"],
              ["-k", "--connect-to", f"allowed.test:443:{w.EVIL4}:443", "https://allowed.test/"]]
    for trick in tricks:
        out = lab.run("curl", "-sS", "-m", "5", *trick, allow=["allowed.test"], extra=ca)
        assert out.code != 0, (trick, out)
    assert lab.world.packets_to(w.EVIL4) == 0


def test_redirect_to_metadata(lab):
    """F15: an allowed origin that redirects inside."""
    out = lab.run("curl", "-sSL", "-m", "5", f"http://allowed.test/redirect?http://{w.METADATA4}/", allow=["allowed.test"])
    assert out.code == 7 and lab.world.packets_to(w.METADATA4) == 0, out


def test_large_download_and_upload(lab):
    out = lab.run("sh", "-c", "curl -sS http://allowed.test/bytes/50000000 | wc -c; "
                  "head -c 20000000 /dev/zero | curl -sS --data-binary @- http://allowed.test/", allow=["allowed.test"])
    assert out.stdout.split() == ["50000000", "20000000"], out


def make_repository(lab):
    repository = lab.world.www / "git" / "project.git"
    if not repository.exists():
        script = f"""set -e; mkdir -p {repository}; work=$(mktemp -d); cd $work; git init -q -b main .
            git config user.email lab@lab.test; git config user.name lab; echo hello > file; git add file; git commit -qm one
            git clone -q --bare . {repository}; cd {repository}; git update-server-info; rm -rf $work; chmod -R a+rX {repository}"""
        subprocess.run(["sh", "-c", script], check=True, capture_output=True, env={**os.environ, "HOME": "/nonexistent"})
    return repository


@pytest.fixture
def repository(lab):
    """A bare repository, served as files by the origin and over ssh."""
    return make_repository(lab)


@TWINS
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_git(lab, ca, repository, scheme, verdict):
    name = "allowed.test" if verdict == "allow" else "evil.test"
    out = lab.run("sh", "-c", f"git -c http.sslCAInfo=/ca.pem clone -q {scheme}://{name}/git/project.git /tmp/p && cat /tmp/p/file",
                  allow=["allowed.test"], extra=ca)
    if verdict == "allow":
        assert out.code == 0 and out.stdout == "hello\n", out
    else:
        assert out.code != 0 and lab.world.packets_to(w.EVIL4) == 0, out


def make_wheel(folder):
    """A wheel by hand: no build tools, no network."""
    files = {"labpkg/__init__.py": "answer = 42\n", "labpkg-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: labpkg\nVersion: 1.0\n",
             "labpkg-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(text)}\n"
    record += "labpkg-1.0.dist-info/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "labpkg-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, "labpkg-1.0.dist-info/RECORD": record}.items():
            wheel.writestr(name, text)
    (folder / "index.html").write_text('<a href="labpkg-1.0-py3-none-any.whl">labpkg-1.0-py3-none-any.whl</a>')


@TWINS
@pytest.mark.parametrize("user", ["sandbox", "root"])
def test_pip(lab, ca, verdict, user):
    """pip installs from an index on the lab, to the user site, with no complaint about the distribution's Python."""
    make_wheel(lab.world.www / "simple" / "labpkg")
    allow = ["allowed.test"] if verdict == "allow" else ["example.com"]
    out = lab.run("sh", "-c", "python3 -m pip install -q --no-cache-dir --retries 0 --timeout 5 --disable-pip-version-check "
                  "--cert /ca.pem -i https://allowed.test/simple labpkg && python3 -c 'import labpkg; print(labpkg.answer)'",
                  allow=allow, extra=[*ca, "--user", user])
    if verdict == "allow":
        assert out.code == 0 and out.stdout.strip().endswith("42"), out
        assert "externally-managed" not in out.stderr, out
    else:
        assert out.code != 0 and lab.world.packets_to(w.ALLOWED4) == 0, out


@pytest.fixture(scope="module")
def ssh_server(world):
    folder = world.folder / "ssh"
    folder.mkdir()
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_text((folder / "client.pub").read_text())
    (folder / "config").write_text(f"Port 22\nListenAddress {w.ALLOWED4}\nListenAddress {w.EVIL4}\nHostKey {folder}/host\n"
                                   f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
                                   f"PidFile none\nPasswordAuthentication no\n")
    world.inet.sh("mkdir -p /run/sshd; mount -t tmpfs -o mode=755 none /run/sshd")
    server = world.inet.start(["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")], ready=None, stderr=subprocess.PIPE)
    while b"listening" not in (line := server.stderr.readline().encode()):
        assert line, "sshd did not start"
    (folder / "client").chmod(0o644)
    return folder


@TWINS
def test_ssh(lab, ssh_server, verdict):
    """A protocol where the server may speak first, on the name alone."""
    name = "allowed.test" if verdict == "allow" else "evil.test"
    out = lab.run("sh", "-c", f"cp /key /tmp/key; chmod 600 /tmp/key; ssh -i /tmp/key -o StrictHostKeyChecking=no "
                  f"-o UserKnownHostsFile=/dev/null -o BatchMode=yes -o ConnectTimeout=8 root@{name} 'echo from-the-server'",
                  allow=["allowed.test:22"], extra=["-v", f"{ssh_server}/client:/key:ro"])
    if verdict == "allow":
        assert out.code == 0 and "from-the-server" in out.stdout, out
    else:
        assert out.code == 255 and lab.world.packets_to(w.EVIL4) == 0, out


@TWINS
def test_git_over_ssh(lab, ssh_server, repository, verdict):
    name = "allowed.test" if verdict == "allow" else "evil.test"
    ssh = "ssh -i /tmp/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o ConnectTimeout=8"
    out = lab.run("sh", "-c", f"cp /key /tmp/key; chmod 600 /tmp/key; GIT_SSH_COMMAND='{ssh}' git clone -q ssh://root@{name}{repository} /tmp/p "
                  "&& cat /tmp/p/file", allow=["allowed.test:22"], extra=["-v", f"{ssh_server}/client:/key:ro"])
    if verdict == "allow":
        assert out.code == 0 and out.stdout == "hello\n", out
    else:
        assert out.code != 0 and lab.world.packets_to(w.EVIL4) == 0 and out.of_type("dns.refuse", name="evil.test"), out


@TWINS
def test_openssl(lab, ca, verdict):
    name = "allowed.test" if verdict == "allow" else "evil.test"
    out = lab.run("sh", "-c", f"echo | openssl s_client -connect allowed.test:443 -servername {name} -CAfile /ca.pem -brief",
                  allow=["allowed.test"], extra=ca)
    if verdict == "allow":
        assert "CONNECTION ESTABLISHED" in out.stderr, out
    else:
        assert "CONNECTION ESTABLISHED" not in out.stderr and lab.world.packets.payload_to(w.ALLOWED4, 443) == 0, out


def test_dig(lab):
    out = lab.run("sh", "-c", "dig +short allowed.test; dig +short @8.8.8.8 allowed.test; dig +tcp +short allowed.test AAAA; "
                  "dig evil.test | grep -E 'status|EDE'", allow=["allowed.test"])
    lines = out.stdout.splitlines()
    assert lines[:3] == [w.ALLOWED4, w.ALLOWED4, w.ALLOWED6], out
    assert "NXDOMAIN" in out.stdout and "EDE: 15" in out.stdout, out


@pytest.mark.slow
def test_iperf3(lab):
    server = lab.world.inet.start(["iperf3", "-s", "-1", "--forceflush", "-B", w.ALLOWED4], ready=None)
    while "listening" not in (line := server.stdout.readline()):
        assert line, "iperf3 did not start"
    out = lab.run("iperf3", "-c", w.ALLOWED4, "-n", "256M", "-f", "m", allow=[w.ALLOWED4], timeout=60)
    server.wait(timeout=10)
    assert out.code == 0 and "sender" in out.stdout, out


@pytest.fixture(scope="module")
def nginx(world):
    folder = world.folder / "nginx"
    folder.mkdir()
    (folder / "root").mkdir()
    (folder / "root" / "big").write_bytes(os.urandom(8 << 20))
    for path in (folder, folder / "root", folder / "root" / "big"):
        path.chmod(0o755)
    (folder / "conf").write_text(f"""
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; user root;
events {{ worker_connections 512; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 10000;
  server {{ listen {w.EXAMPLE4}:8081; listen [{w.EXAMPLE6}]:8081; root {folder}/root; }}
  server {{ listen {w.EXAMPLE4}:8444 ssl http2; ssl_certificate {world.pki}/cert.pem; ssl_certificate_key {world.pki}/key.pem;
            root {folder}/root; }} }}""")
    world.inet.start(["nginx", "-c", str(folder / "conf"), "-e", str(folder / "error.log")], ready=None)
    for _ in range(200):
        if world.inet.run(["curl", "-s", "-m", "1", f"http://{w.EXAMPLE4}:8081/big", "-o", "/dev/null"]).returncode == 0:
            break
    return hashlib.sha256((folder / "root" / "big").read_bytes()).hexdigest()


def test_nginx(lab, ca, nginx):
    """HTTP/1.1 kept alive and HTTP/2 over TLS from a server that people run."""
    out = lab.run("sh", "-c", "curl -sS -o /tmp/one -o /tmp/two http://example.com:8081/big http://example.com:8081/big; cat /tmp/two | sha256sum; "
                  "curl -sS --http2 --cacert /ca.pem https://example.com:8444/big | sha256sum",
                  allow=["example.com"], extra=ca)
    assert out.stdout.count(nginx) == 2, out


def test_unbound(lab):
    """The upstream is a resolver that people run."""
    folder = lab.world.folder / "unbound"
    folder.mkdir(exist_ok=True)
    (folder / "conf").write_text(f"""
server:
  interface: 93.184.216.54
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: {folder}/log
  local-zone: "unbound.test." static
  local-data: "www.unbound.test. 60 IN A {w.ALLOWED4}"
  local-data: "www.unbound.test. 60 IN AAAA {w.ALLOWED6}"
remote-control:
  control-enable: no
""")
    server = lab.world.inet.start(["unbound", "-d", "-c", str(folder / "conf")], ready=None)
    try:
        for _ in range(100):
            if w.ALLOWED4 in lab.world.inet.run(["dig", "+short", "+time=1", "+tries=1", "@93.184.216.54", "www.unbound.test"]).stdout:
                break
        policy = 'version = 1\nmode = "allowlist"\nallow = ["www.unbound.test", "nx.unbound.test"]\n' \
                 '[dns]\nupstream = ["93.184.216.54"]\n'
        out = lab.guest("result = [dns('www.unbound.test')['addresses'], dns('www.unbound.test', 'AAAA')['addresses'], "
                        "dns('nx.unbound.test')['rcode']]", policy=policy)
        assert out.result == [[w.ALLOWED4], [w.ALLOWED6], 3], out
    finally:
        server.kill()


def test_background_of_parallel_curls(lab):
    out = lab.run("sh", "-c", "for i in $(seq 40); do curl -sS -o /dev/null -w '%{http_code}\\n' http://allowed.test/ & done; wait",
                  allow=["allowed.test"])
    assert out.stdout.split() == ["200"] * 40, out
