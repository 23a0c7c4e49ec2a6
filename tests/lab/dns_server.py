"""The lab's name server: authoritative for a small made-up world, with every misbehaviour that a resolver must survive.

Run inside a namespace: dns_server.py ZONE.json LOG.jsonl ADDRESS...
ZONE maps a name to {"A": [...], "AAAA": [...], "CNAME": "x", "TXT": [...], "ttl": 60, "behaviour": "..."}; a key that
starts with "*." matches any depth below. Every query is logged before anything else happens to it.
"""

import json
import socket
import struct
import sys
import threading
import time

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65}
NAMES = {value: key for key, value in TYPES.items()}
MAX_CHAIN = 16


def encode_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            out += bytes([len(label)]) + label.encode("latin-1")
    return out + b"\0"


def read_question(message):
    """-> (name, type, raw question bytes) or None"""
    labels, offset = [], 12
    while offset < len(message) and message[offset]:
        length = message[offset]
        if length > 63:
            return None
        labels.append(message[offset + 1:offset + 1 + length].decode("latin-1"))
        offset += 1 + length
    if offset + 5 > len(message):
        return None
    qtype = struct.unpack_from("!H", message, offset + 1)[0]
    return ".".join(labels), qtype, message[12:offset + 5]


class Zone:
    def __init__(self, path):
        with open(path) as file:
            self.names = json.load(file)
        self.asked = {}
        self.lock = threading.Lock()

    def find(self, name):
        name = name.lower()
        if name in self.names:
            return self.names[name]
        labels = name.split(".")
        for start in range(1, len(labels)):
            entry = self.names.get("*." + ".".join(labels[start:]))
            if entry is not None:
                return entry
        return None

    def is_ancestor(self, name):
        name = name.lower()
        return any(key.endswith("." + name) for key in self.names)

    def nth_time(self, name, qtype):
        with self.lock:
            key = (name.lower(), qtype)
            self.asked[key] = self.asked.get(key, 0) + 1
            return self.asked[key]


def rdata(kind, value):
    if kind == "A":
        return socket.inet_pton(socket.AF_INET, value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind in ("CNAME", "NS", "PTR"):
        return encode_name(value)
    if kind == "TXT":
        raw = value.encode()
        return bytes([len(raw)]) + raw
    if kind == "MX":
        return struct.pack("!H", 10) + encode_name(value)
    if kind == "SRV":
        host, port = value.rsplit(":", 1)
        return struct.pack("!HHH", 1, 1, int(port)) + encode_name(host)
    return bytes.fromhex(value)


def record(name, kind, value, ttl):
    data = rdata(kind, value)
    return encode_name(name) + struct.pack("!HHIH", TYPES[kind], 1, ttl, len(data)) + data


def reply(query, question, answers, rcode=0, flags=0x8580):
    header = query[:2] + struct.pack("!HHHHH", flags | rcode, 1, len(answers), 0, 0)
    return header + question + b"".join(answers)


def collect(zone, name, kind):
    """Follows CNAMEs inside the zone. -> (records, found)"""
    records, seen = [], 0
    while seen < MAX_CHAIN:
        seen += 1
        entry = zone.find(name)
        if entry is None:
            return records, bool(records) or zone.is_ancestor(name)
        ttl = entry.get("ttl", 60)
        if "CNAME" in entry and kind != "CNAME":
            records.append(record(name, "CNAME", entry["CNAME"], ttl))
            name = entry["CNAME"]
            if entry.get("behaviour") == "loop" and seen > 3:
                return records, True
            continue
        values = entry.get(kind, [])
        if entry.get("behaviour") == "rebind" and values:
            turn = zone.nth_time(name, kind)
            values = [values[0] if turn == 1 else values[1]]
        records += [record(name, kind, value, ttl) for value in ([values] if isinstance(values, str) else values)]
        return records, True
    return records, True


def misbehave(behaviour, query, name, question, answers, transport):
    """-> list of messages to send instead, or None for the ordinary answer."""
    if behaviour == "silent":
        return []
    if behaviour == "lying-id":
        return [struct.pack("!H", struct.unpack("!H", query[:2])[0] ^ 0x5555) + reply(query, question, answers)[2:]]
    if behaviour == "lying-question":
        other = encode_name("other.test") + question[-4:]
        return [reply(query, other, [record("other.test", "A", "93.184.216.10", 60)])]
    if behaviour == "lying-then-true":
        forged = reply(query, question, [record(name, "A", "93.184.216.66", 60)])
        return [struct.pack("!H", struct.unpack("!H", query[:2])[0] ^ 1) + forged[2:], reply(query, question, answers)]
    if behaviour == "lower-case":
        return [reply(query, question.lower(), answers)]
    if behaviour == "truncated" and transport == "udp":
        return [reply(query, question, [], flags=0x8780)]
    if behaviour == "truncated-for-ever":
        return [reply(query, question, [], flags=0x8780)]
    if behaviour == "servfail":
        return [reply(query, question, [], rcode=2)]
    if behaviour == "refused":
        return [reply(query, question, [], rcode=5)]
    if behaviour == "garbage":
        return [query[:2] + b"\x85\x80\x00\x01\x00\x05" + b"\xc0\x0c" * 40]
    if behaviour == "pointer-loop":
        return [reply(query, question, [b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02" + b"\xc0\x2b"])]
    if behaviour == "slow":
        time.sleep(1.5)
    return None


def answer(zone, query, transport):
    parsed = read_question(query)
    if parsed is None:
        return []
    name, qtype, question = parsed
    entry = zone.find(name) or {}
    kind = NAMES.get(qtype)
    answers, found = collect(zone, name, kind) if kind else ([], True)
    strange = misbehave(entry.get("behaviour"), query, name, question, answers, transport)
    if strange is not None:
        return strange
    whole = reply(query, question, answers, rcode=0 if found else 3)
    if transport == "udp" and len(whole) > 1232:
        return [reply(query, question, [], flags=0x8780)]
    return [whole]


class Log:
    def __init__(self, path):
        self.file = open(path, "a", buffering=1)
        self.lock = threading.Lock()

    def write(self, query, transport, server):
        parsed = read_question(query)
        name, qtype = (parsed[0], parsed[1]) if parsed else ("", 0)
        line = {"name": name.lower(), "spelled": name, "type": NAMES.get(qtype, str(qtype)), "transport": transport,
                "server": server, "id": struct.unpack("!H", query[:2])[0] if len(query) > 1 else -1,
                "counts": list(struct.unpack("!HHHH", query[4:12])) if len(query) >= 12 else [],
                "hex": query.hex()[:1024], "time": time.time()}
        with self.lock:
            self.file.write(json.dumps(line) + "\n")


def serve_udp(address, zone, log):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 53))

    def handle(query, peer):
        log.write(query, "udp", address)
        for message in answer(zone, query, "udp"):
            sock.sendto(message, peer)

    def loop():
        while True:
            query, peer = sock.recvfrom(65535)
            threading.Thread(target=handle, args=(query, peer), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()


def serve_tcp(address, zone, log):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, 53))
    sock.listen(128)

    def handle(conn):
        with conn, conn.makefile("rb") as stream:
            while True:
                head = stream.read(2)
                if len(head) < 2:
                    return
                query = stream.read(struct.unpack("!H", head)[0])
                log.write(query, "tcp", address)
                for message in answer(zone, query, "tcp"):
                    conn.sendall(struct.pack("!H", len(message)) + message)

    def loop():
        while True:
            conn, _ = sock.accept()
            threading.Thread(target=handle, args=(conn,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()


def main():
    zone, log = Zone(sys.argv[1]), Log(sys.argv[2])
    for address in sys.argv[3:]:
        serve_udp(address, zone, log)
        serve_tcp(address, zone, log)
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
