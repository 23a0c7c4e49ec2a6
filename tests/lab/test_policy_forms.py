"""What a policy means, by the forms in which people write it. attacks.md A01-A12, B01-B10; policy.md sections 1-4, 10."""

import json

import pytest

import world as w
from checks import REFUSE, TWINS, assert_allowed

REACH = f"""
result = [tcp({w.ALLOWED4!r}, 80)['connect'], tcp({w.ALLOWED6!r}, 80)['connect'], dns('allowed.test').get('rcode'),
          tcp({w.OTHER_DNS4!r}, 443)['connect']]
"""


@pytest.mark.parametrize("text", [
    pytest.param('version = 1\nmode = "allowlist"\n', marks=pytest.mark.refusal),
    pytest.param('version = 1\nmode = "allowlist"\nallow = []\n', marks=pytest.mark.refusal),
    *(pytest.param(text, marks=pytest.mark.elsewhere) for text in ("version = 1\n", 'version = 1\nmode = "none"\n', ""))])
def test_empty_allows_nothing(lab, text):
    """A01: no rule is deny everything. A refusal to start is as good."""
    probe = lab.cli("run", "--policy", lab.file("p.toml", text), "--", "true")
    if probe.code == 125:
        assert probe.stderr.strip(), "it must say why"
        return
    out = lab.guest(REACH, policy=text)
    assert all(value not in ("OK", 0) for value in out.result), out
    assert not lab.world.dns_log.since() and not lab.world.packets.everything()


@pytest.mark.parametrize("text, word", [
    ('version = 1\nmode = "allowlist"\nallow = "allowed.test"\n', "allow"),
    ('version = 1\nmode = "allowlist"\nalow = ["allowed.test"]\n', "allow"),
    ('version = 1\nmode = "allowlist"\nallow = ["a.test"]\nallow = ["b.test"]\n', "allow"),
    ('version = 1\nmode = "allowlst"\n', "allowlist"),
    ('version = 1\nmode = "allowlist"\nallow = ["http//x"]\n', "3"),
    ('version = 1\nmode = "allowlist"\nallow = ["a.test"\n', "toml"),
    ('version = 2\nmode = "allowlist"\n', "version"),
    ('version = 1\nmode = "allowlist"\nallow = [1]\n', "3"),
    ('version = 1\nmode = "allowlist"\n[limit]\nmax_flows = 1\n', "limits"),
    ('version = 1\nmode = "denylist"\n', "deny"),
    ('version = 1\nmode = "allowlist"\nallow = ["a.test"]\n[future]\nkey = 1\n', "future"),
    ("\0\1\2", "")])
def test_malformed_policy_starts_nothing(lab, text, word):
    """A01, Q11: unknown key, duplicate key, wrong type, bad target: exit 125, with file, line and the nearest spelling."""
    path = lab.file("policy.toml", text)
    out = lab.cli("run", "--policy", path, "--", "echo", "started")
    assert out.code == 125 and "started" not in out.stdout, out
    assert word in out.stderr and ("policy.toml" in out.stderr or "denylist" in text), out
    if word and "denylist" not in text:
        assert any(char.isdigit() for char in out.stderr.replace(path, "")), "it names the line"
    assert len(out.stderr.strip().splitlines()) <= 4, "one line: what, why, what to do"


def test_unreadable_policy(lab):
    out = lab.cli("run", "--policy", "/nonexistent/policy.toml", "--", "echo", "started")
    assert out.code == 125 and "started" not in out.stdout and "/nonexistent/policy.toml" in out.stderr, out


@pytest.mark.parametrize("target, why", [("*", "broad"), ("*.com", "broad"), ("*.co.uk", "broad"), ("*.github.io", "broad"),
                                         ("a*b.test", ""), ("exa mple.test", ""), ("user@allowed.test", ""), ("a..test", ""),
                                         ("allowed.test:0", ""), ("allowed.test:65536", ""), ("allowed.test:+443", ""),
                                         ("allowed.test:443x", ""), ("[allowed.test]:443", ""), ("allowed%2etest", ""),
                                         ("http://allowed.test", ""), ("udp://allowed.test", "port"), ("443", ""),
                                         ("allowed.test:", ""), ("-", ""), ("", ""), ("a" * 64 + ".test", "63"),
                                         (".".join(["abcdefgh"] * 30), "253"), ("@nosuchset", "nosuchset")])
def test_bad_targets(lab, target, why):
    """B01-B10: strict and total; the message says which and why."""
    out = lab.cli("run", "--allow", target, "--", "echo", "started")
    assert out.code == 125 and "started" not in out.stdout, out
    assert why in out.stderr, out


@pytest.mark.parametrize("verdict", ["allow", pytest.param("refuse", marks=pytest.mark.elsewhere)])
def test_broad_needs_insisting(lab, verdict):
    extra = ["--insist", "broad=*.com"] if verdict == "allow" else []
    out = lab.run("true", allow=["*.com"], extra=extra)
    if verdict == "allow":
        assert out.code == 0 and "*.com" in out.stderr, out
    else:
        assert out.code == 125 and "--insist" in out.stderr and "broad=*.com" in out.stderr, out


@pytest.mark.parametrize("rule, name, allowed", [
    ("allowed.test", "allowed.test", True), ("allowed.test", "xallowed.test", False),
    ("allowed.test", "sub.allowed.test", False), ("allowed.test", "allowed.test.evil.test", False),
    ("*.wild.test", "a.wild.test", True), ("*.wild.test", "a.b.wild.test", True), ("*.wild.test", "wild.test", False),
    (".wild.test", "wild.test", True), (".wild.test", "a.b.wild.test", True), (".wild.test", "xwild.test", False),
    ("ALLOWED.Test.", "allowed.test", True), ("allowed.test", "ALLOWED.TEST", True)])
def test_labels(lab, rule, name, allowed):
    """A03: whole labels from the right; case and one trailing dot do not matter."""
    out = lab.guest(f"result = dns({name!r})", allow=[rule])
    assert bool(out.result["addresses"]) == allowed, out
    assert bool([e for e in lab.world.dns_log.since() if e["name"] == name.lower()]) == allowed


@pytest.mark.parametrize("argv, word", [
    (["-n", "none", "--allow", "a.test"], "allow"), (["-n", "open", "--allow", "a.test"], "allow"),
    (["--deny", "a.test"], "mode"), (["-n", "denylist"], "deny"), (["-n", "nonsense"], "allowlist"),
    (["-n", "host"], "trust")])
def test_combinations_that_mean_nothing(lab, argv, word):
    """policy.md section 1: errors that say what to write."""
    out = lab.cli("run", *argv, "--", "echo", "started")
    assert out.code == 125 and "started" not in out.stdout and word in out.stderr, out


@pytest.mark.parametrize("mode", ["none", "blocked", "zerotrust", "off", "inbound", "mounts", "mounts_only"])
@pytest.mark.elsewhere
def test_modes_without_network(lab, mode):
    out = lab.guest(f"result = [tcp({w.ALLOWED4!r}, 80)['connect'], tcp({w.ALLOWED6!r}, 80)['connect'], "
                    f"tcp({w.METADATA4!r}, 80)['connect'], udp({w.OTHER_DNS4!r}, 53)['error']]", mode=mode)
    assert out.result == ["ENETUNREACH"] * 4, out
    assert not lab.world.packets.everything()


@pytest.mark.parametrize("mode", ["public", "public_only", "open", "allow_all", "full"])
def test_modes_with_public_network(lab, mode):
    out = lab.guest(f"result = [http_get({w.ALLOWED4!r}, 80, 'allowed.test')['data'][:15], dns('allowed.test')['addresses'], "
                    f"tls({w.ALLOWED6!r}, 443, 'allowed.test')['tls']]", mode=mode)
    assert out.result == ["HTTP/1.1 200 OK", [w.ALLOWED4], "OK"], out


@TWINS
@pytest.mark.parametrize("mode", ["denylist", "open"])
def test_denied_name(lab, mode, verdict):
    name, dst = ("allowed.test", w.ALLOWED4) if verdict == "allow" else ("evil.test", w.EVIL4)
    out = lab.guest(f"result = [dns({name!r}), http_get({dst!r}, 80, {name!r})]", mode=mode, deny=["evil.test"])
    answer, seen = out.result
    if verdict == "allow":
        assert answer["addresses"] == [dst], out
        assert_allowed(lab, out, seen, dst, 80)
    else:
        assert not answer["addresses"] and 15 in answer["ede"], out
        assert seen.get("end") == "ECONNRESET" or seen["connect"] == "ECONNREFUSED", out
        assert lab.world.packets.payload_to(dst, 80) == 0


@pytest.mark.parametrize("first", ["deny", "allow"])
def test_vector_rule_order(lab, first):
    """policy.md section 10: deny 93.184.0.0/16 then allow the name inside it, and the two swapped."""
    rules = {"deny": '[[rules]]\naction = "deny"\nto = ["93.184.0.0/16"]\n',
             "allow": '[[rules]]\naction = "allow"\nto = ["allowed.test"]\n'}
    order = ["deny", "allow"] if first == "deny" else ["allow", "deny"]
    policy = 'version = 1\nmode = "allowlist"\n' + "".join(rules[key] for key in order)
    out = lab.guest("answer = dns('allowed.test')\n"
                    f"result = [answer, http_get({w.ALLOWED4!r}, 80, 'allowed.test')]", policy=policy)
    answer, seen = out.result
    if first == "deny":
        assert answer["rcode"] == 0 and not answer["addresses"] and 15 in answer["ede"], out
        assert seen["connect"] == "ECONNREFUSED", out
    else:
        assert answer["addresses"] == [w.ALLOWED4] and "200 OK" in seen["data"], out


def test_flags_add_to_the_file_and_replace_its_mode_loudly(lab):
    policy = 'version = 1\nmode = "allowlist"\nallow = ["allowed.test"]\n'
    out = lab.guest("result = [bool(dns('allowed.test')['addresses']), bool(dns('evil.test')['addresses'])]", policy=policy,
                    allow=["evil.test"])
    assert out.result == [True, True], out
    out = lab.guest("result = dns('example.com')['addresses']", policy='version = 1\nmode = "public"\n', mode="none")
    assert out.result == [] and "none" in out.stderr, out


@pytest.mark.parametrize("text, allowed", [("bücher.test", True), ("xn--bcher-kva.test", True), ("ａllowed.test", None)])
def test_international_names(lab, text, allowed):
    """B06: U-labels in a policy become A-labels and are shown as such."""
    out = lab.cli("policy", "explain", "--allow", text, "xn--bcher-kva.test:443" if allowed else "allowed.test:443")
    if allowed:
        assert "xn--bcher-kva.test" in out.stdout, out
    else:
        assert out.code in (0, 1, 125), out


# ---- weir policy -----------------------------------------------------------------------------------------------------

def test_explain_acceptance(lab):
    """The issue's own line: '*.example.com' does not include 'example.com', and it says so."""
    out = lab.cli("policy", "explain", "--allow", "*.example.com", "example.com:443")
    text = out.stdout + out.stderr
    assert "refuse" in text and "no-rule" in text, out
    assert "*.example.com" in text and "does not include" in text, out


def test_explain_allowed(lab):
    out = lab.cli("policy", "explain", "--allow", "allowed.test:443", "allowed.test:443")
    assert out.code == 0 and "allow" in out.stdout, out
    out = lab.cli("policy", "explain", "--allow", "allowed.test:443", "allowed.test:80")
    assert "refuse" in out.stdout + out.stderr, out


def test_check(lab):
    good = lab.file("good.toml", 'version = 1\nmode = "allowlist"\nallow = ["allowed.test"]\n')
    bad = lab.file("bad.toml", 'version = 1\nmode = "allowlist"\nallow = ["a.test", "not a target"]\n')
    assert lab.cli("policy", "check", good).code == 0
    out = lab.cli("policy", "check", bad)
    assert out.code != 0 and "bad.toml:3" in out.stderr + out.stdout, out
    lint = lab.file("lint.toml", 'version = 1\nmode = "allowlist"\nallow = ["*.wild.test", "8.8.8.8:53"]\n')
    out = lab.cli("policy", "check", lint)
    assert "tunnel" in out.stdout + out.stderr and "wild.test" in out.stdout + out.stderr, out


def test_show_and_sets(lab):
    out = lab.cli("policy", "show", "--allow", "allowed.test")
    assert out.code == 0 and "allowed.test" in out.stdout, out
    out = lab.cli("policy", "sets")
    assert out.code == 0 and all(name in out.stdout for name in ("pypi", "npm", "debian", "github", "crates")), out


def test_policy_test_command(lab):
    policy = lab.file("p.toml", 'version = 1\nmode = "allowlist"\nallow = ["allowed.test:443"]\n')
    out = lab.cli("policy", "test", "--help")
    assert out.code == 0 and policy, out


def test_dry_run(lab):
    out = lab.run("sh", "-c", "echo started", allow=["allowed.test"], extra=["--dry-run"])
    assert out.code == 0 and "started" not in out.stdout.splitlines() and "allowed.test" in out.stdout, out
    assert not out.events


@pytest.mark.parametrize("verdict", [REFUSE])
def test_no_implicit_allow(lab, verdict):
    """A05: nothing is open that the policy does not name: public resolvers, the metadata, the host."""
    code = f"""
result = [tcp(a, p, timeout=2)['connect'] for a, p in
          [({w.OTHER_DNS4!r}, 443), ('1.1.1.1', 853), ('9.9.9.9', 853), ({w.INET_UP4!r}, 80), ({w.HOST_UP4!r}, {w.HOST_PORT}),
           ({w.DNS4!r}, 443), ({w.DNS4!r}, 80)]]
"""
    out = lab.guest(code, allow=["allowed.test"])
    assert set(out.result) == {"ECONNREFUSED"}, out
    assert not lab.world.packets.everything()


def test_allow_list_with_commas_and_ports(lab):
    """policy.md section 2: after a comma, digits continue the port list."""
    out = lab.guest(f"result = [tcp({w.ALLOWED4!r}, p)['connect'] for p in (80, 8080, 443, 7)]",
                    extra=["--allow", f"{w.ALLOWED4}:80,8000-8999,evil.test"])
    assert out.result == ["OK", "OK", "ECONNREFUSED", "ECONNREFUSED"], out


def test_start_event_names_the_policy(lab):
    out = lab.run("true", allow=["allowed.test"])
    start = out.of_type("sandbox.start")
    assert len(start) == 1 and start[0]["policy"], json.dumps(start)
    other = lab.run("true", allow=["evil.test"]).of_type("sandbox.start")[0]
    assert other["policy"] != start[0]["policy"]
