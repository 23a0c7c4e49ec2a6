"""weir policy learn: the policy that it writes lets the same program through, and nothing else."""

import pathlib

import pytest

import world as w
from lab import GUEST

USES = f"""
resolve('allowed.test')
result = [http_get({w.ALLOWED4!r}, 80, 'allowed.test')['end'], tcp({w.ALLOWED4!r}, 7)['connect']]
"""


def learn(lab, code, *extra):
    out = lab.cli("policy", "learn", "-o", "learned.toml", "--events", "e.jsonl", *extra, "--", "/usr/bin/python3", "-c",
                  GUEST + "\n" + code + "\nprint(json.dumps(result))\n")
    assert out.code == 0, out
    return out, (lab.folder / "learned.toml").read_text()


@pytest.mark.refusal
def test_what_was_learned_passes_and_a_second_destination_is_refused(lab):
    learned, policy = learn(lab, USES)
    assert "\"allowed.test:7,80\"" in policy, policy
    assert lab.cli("policy", "check", "learned.toml").code == 0
    again = lab.guest(USES, policy=policy)
    assert again.result == learned.result, (again, policy)
    assert not again.refusals(), again
    other = lab.guest(f"result = [dns('evil.test')['rcode'], tcp({w.EVIL4!r}, 80)['connect'], "
                      f"tcp({w.ALLOWED4!r}, 8080)['connect']]", policy=policy)
    assert other.result == [3, "ECONNREFUSED", "ECONNREFUSED"], other
    assert lab.world.packets_to(w.EVIL4, 80) == lab.world.packets_to(w.ALLOWED4, 8080) == 0
    assert len(other.refusals(dst=w.EVIL4, port=80)) == 1, other


def test_nothing_used_is_mode_none(lab):
    _, policy = learn(lab, "result = 1")
    assert 'mode    = "none"' in policy and "allow" not in policy.replace("allows", ""), policy


def test_names_of_the_guest_cannot_write_policy(lab):
    """P01: a name that is none stands nowhere; one that is canonical stands quoted or in a comment of its own line."""
    evil = 'x"]\nallow=["0.0.0.0/0'
    _, policy = learn(lab, f"dns({evil!r} + '.evil.test'); dns('evil.test')\nresult = 1")
    assert "0.0.0.0" not in policy and 'mode    = "none"' in policy, policy
    assert all(line.startswith(("#", "version", "mode")) for line in policy.splitlines()), policy


def test_an_address_without_a_name(lab):
    _, policy = learn(lab, f"result = tcp({w.ALLOWED4!r}, 80)['connect']")
    assert f'"tcp://{w.ALLOWED4}:80"' in policy and "an address without a name" in policy, policy
    again = lab.guest(f"result = [tcp({w.ALLOWED4!r}, 80)['connect'], tcp({w.EVIL4!r}, 80)['connect']]", policy=policy)
    assert again.result == ["OK", "ECONNREFUSED"], again


@pytest.mark.refusal
def test_the_floor_holds_while_learning(lab):
    out, policy = learn(lab, f"result = [tcp({w.METADATA4!r}, 80, timeout=2)['connect'], tcp({w.ALLOWED4!r}, 80)['connect']]")
    assert out.result == ["ECONNREFUSED", "OK"] and lab.world.packets_to(w.METADATA4, 80) == 0, out
    assert w.METADATA4 not in policy and w.ALLOWED4 in policy, (out, policy)


def test_from_receipts_and_events(lab):
    out, policy = learn(lab, USES, "--receipt", "r.txt")
    from_receipt = lab.cli("policy", "learn", "--from", "r.txt.json")
    from_events = lab.cli("policy", "learn", "--from", "e.jsonl")
    entries = [line for line in policy.splitlines() if line.startswith("  ")]
    assert entries, policy
    for other in (from_receipt, from_events):
        assert other.code == 0 and [line for line in other.stdout.splitlines() if line.startswith("  ")] == entries, (other, policy)
    damaged = lab.file("d.jsonl", pathlib.Path(lab.folder / "e.jsonl").read_text().replace('"seq":2', '"seq":"2"'))
    refused = lab.cli("policy", "learn", "--from", damaged)
    assert refused.code == 125 and ":2: seq" in refused.stderr and refused.stdout == "", refused
