"""The program that runs in the sandbox: it tries every way out it can think of and says what it saw.

It reads the list of attempts as JSON from its first argument (addresses it has "heard of"), and prints one JSON line per
attempt: {"id", "saw"}. `saw` is "OK ..." or what the operating system answered. Nothing here is special to weir.
"""

import errno
import json
import socket
import struct
import sys

TIMEOUT = 4


def word(error):
    if isinstance(error, socket.gaierror):
        return {socket.EAI_NONAME: "name not known", socket.EAI_NODATA: "name has no address",
                socket.EAI_AGAIN: "name server trouble"}.get(error.errno, str(error))
    if isinstance(error, (TimeoutError, socket.timeout)) and error.errno is None:
        return "no answer"
    return errno.errorcode.get(error.errno, str(error))


def http(sock, host):
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    data = b""
    while part := sock.recv(65536):
        data += part
    return "OK, a page" if data.startswith(b"HTTP/1.1 200") else f"answer {data[:20]!r}"


def connect(family, address, port):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT)
    sock.connect((address, port))
    return sock


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def fetch(host, port, family):
    """By name, as every client does: resolve, connect, ask."""
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    address = socket.getaddrinfo(host, port, kind, socket.SOCK_STREAM)[0][4][0]
    return http(connect(kind, address, port), host)


def literal(address, port, host):
    """Straight to an address that is written in the program."""
    return http(connect(family_of(address), address, port), host)


def tunnel(name):
    """Data in a question: it need not be answered to have left."""
    socket.getaddrinfo(name, 80)
    return "OK, resolved"


def tunnel_direct(server, name):
    """The same, asking a name server of its own choice."""
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"
    sock = socket.socket(family_of(server), socket.SOCK_DGRAM)
    sock.settimeout(TIMEOUT)
    sock.connect((server, 53))
    sock.send(struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!HH", 16, 1))
    rcode = sock.recv(4096)[3] & 15
    return "OK, answered" if rcode == 0 else {2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}.get(rcode, f"rcode {rcode}")


def datagram(address, port):
    sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
    sock.settimeout(TIMEOUT)
    sock.connect((address, port))
    sock.send(b"secret")
    return "OK, echoed" if sock.recv(100) else "empty"


def echo_request(address):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    sock.settimeout(TIMEOUT)
    sock.connect((address, 0))
    sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: tell us what came back
    sock.send(struct.pack("!BBHHH", 8, 0, 0, 0, 1) + b"secret")
    sock.recv(100)
    return "OK, echoed"


def raw(kind):
    if kind == "packet":
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)).close()
    elif kind == "vsock":
        socket.socket(40, socket.SOCK_STREAM, 0).close()
    else:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP).close()
    return "OK, a socket"


WAYS = {"fetch": fetch, "literal": literal, "tunnel": tunnel, "tunnel_direct": tunnel_direct, "datagram": datagram,
        "echo_request": echo_request, "raw": raw}

for attempt in json.loads(sys.argv[1]):
    try:
        saw = WAYS[attempt["way"]](*attempt["args"])
    except OSError as error:
        saw = word(error)
    print(json.dumps({"id": attempt["id"], "saw": saw}), flush=True)
