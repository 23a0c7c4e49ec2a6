"""What a guest program of the lab can do. Runs *inside* the sandbox: the text of this file, followed by a test's own
lines, is given to python3 -c; `result` is printed as JSON. Standard library only."""

import errno
import json
import os
import socket
import ssl
import struct
import sys
import time


def name_of(error):
    """ECONNREFUSED, not 111; a timeout of the probe itself is TIMEOUT."""
    if isinstance(error, (TimeoutError, socket.timeout)) and error.errno is None:
        return "TIMEOUT"
    return errno.errorcode.get(error.errno, type(error).__name__) if isinstance(error, OSError) else type(error).__name__


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp(address, port, send=None, recv=0, timeout=5, bind=None, shut=False, options=()):
    """connect, perhaps send and read. {"connect": "OK" or errno, "data", "end": "eof"|errno|None, "ms"}"""
    out = {"connect": None, "data": "", "end": None, "sent": None}
    sock = socket.socket(family_of(address), socket.SOCK_STREAM)
    sock.settimeout(timeout)
    begin = time.monotonic()
    try:
        for option in options:
            sock.setsockopt(*option)
        if bind:
            sock.bind(bind)
        sock.connect((address, port))
        out["connect"] = "OK"
    except OSError as error:
        out["connect"] = name_of(error)
        return out
    finally:
        out["ms"] = round((time.monotonic() - begin) * 1000, 1)
    try:
        if send is not None:
            sock.sendall(send if isinstance(send, bytes) else send.encode("latin-1"))
            out["sent"] = "OK"
        if shut:
            sock.shutdown(socket.SHUT_WR)
        data = b""
        while len(data) < recv:
            part = sock.recv(65536)
            if not part:
                out["end"] = "eof"
                break
            data += part
        out["data"] = data.decode("latin-1")
    except OSError as error:
        out["end"] = name_of(error)
        out["data"] = ""
    sock.close()
    return out


def udp(address, port, send="ping", timeout=1.0):
    sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
    sock.settimeout(timeout)
    try:
        sock.connect((address, port))
        sock.send(send.encode("latin-1"))
        return {"data": sock.recv(65535).decode("latin-1"), "error": None}
    except OSError as error:
        return {"data": None, "error": name_of(error)}
    finally:
        sock.close()


def http_get(address, port, host, path="/", timeout=5):
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return tcp(address, port, send=request, recv=1 << 20, timeout=timeout)


def tls(address, port, server_name, timeout=5, request=None):
    """A handshake without verification. {"connect", "tls": "OK" or error, "data"}"""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = socket.socket(family_of(address), socket.SOCK_STREAM)
    sock.settimeout(timeout)
    out = {"connect": None, "tls": None, "data": ""}
    try:
        sock.connect((address, port))
        out["connect"] = "OK"
    except OSError as error:
        out["connect"] = name_of(error)
        return out
    try:
        with context.wrap_socket(sock, server_hostname=server_name) as secure:
            out["tls"] = "OK"
            if request:
                secure.sendall(request.encode())
                out["data"] = secure.recv(65536).decode("latin-1")
    except (OSError, ssl.SSLError) as error:
        out["tls"] = name_of(error)
    return out


def client_hello(server_name):
    """The bytes of a ClientHello, to be sent as the test likes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def nameserver():
    with open("/etc/resolv.conf") as file:
        for line in file:
            if line.startswith("nameserver"):
                return line.split()[1]
    return "127.0.0.1"  # what the C library falls back to


TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
         "SVCB": 64, "HTTPS": 65, "AXFR": 252, "ANY": 255}


def dns_query(name, qtype, edns=b"", ident=0x1234, flags=0x0100, counts=(1, 0, 0, 1)):
    labels = b"".join(bytes([len(x)]) + x for x in name.encode("latin-1").rstrip(b".").split(b".") if x) + b"\0"
    extra = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(edns)) + edns if counts[3] else b""
    return struct.pack("!HHHHHH", ident, flags, *counts) + labels + struct.pack("!HH", TYPES.get(qtype, qtype), 1) + extra


def skip_name(message, offset):
    while message[offset]:
        if message[offset] >= 0xC0:
            return offset + 2
        offset += 1 + message[offset]
    return offset + 1


def parse_dns(message):
    """{"rcode", "tc", "answers": [[type, text]], "ede": [codes]}"""
    rcode, counts = message[3] & 15, struct.unpack("!HHHH", message[4:12])
    offset = 12
    for _ in range(counts[0]):
        offset = skip_name(message, offset) + 4
    answers, ede = [], []
    for section in range(counts[1] + counts[2] + counts[3]):
        offset = skip_name(message, offset)
        kind, _, ttl, length = struct.unpack("!HHIH", message[offset:offset + 10])
        data = message[offset + 10:offset + 10 + length]
        offset += 10 + length
        if section < counts[1]:
            if kind in (1, 28):
                data = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data)
                answers.append([kind, data, ttl])
            else:
                answers.append([kind, data.hex(), ttl])
        if kind == 41:
            at = 0
            while at + 4 <= length:
                code, size = struct.unpack("!HH", data[at:at + 4])
                if code == 15:
                    ede.append(struct.unpack("!H", data[at + 4:at + 6])[0])
                at += 4 + size
    return {"rcode": rcode, "tc": bool(message[2] & 2), "answers": answers, "ede": ede, "id": message[0] << 8 | message[1]}


def dns_raw(message, server=None, transport="udp", timeout=6):
    server = server or nameserver()
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    sock = socket.socket(family_of(server), kind)
    sock.settimeout(timeout)
    try:
        sock.connect((server, 53))
        if transport == "tcp":
            sock.sendall(struct.pack("!H", len(message)) + message)
            head = sock.recv(2)
            if len(head) < 2:
                return {"error": "EOF"}
            length, data = struct.unpack("!H", head)[0], b""
            while len(data) < length:
                part = sock.recv(65536)
                if not part:
                    return {"error": "EOF"}
                data += part
            return parse_dns(data)
        sock.send(message)
        return parse_dns(sock.recv(65535))
    except OSError as error:
        return {"error": name_of(error)}
    finally:
        sock.close()


def dns(name, qtype="A", server=None, transport="udp", timeout=6):
    out = dns_raw(dns_query(name, qtype), server, transport, timeout)
    out["addresses"] = [item[1] for item in out.get("answers", []) if item[0] in (1, 28)]
    return out


def resolve(name, family=0):
    try:
        return sorted({item[4][0] for item in socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)})
    except socket.gaierror as error:
        return {"error": error.errno}


def ping(address, timeout=1.0):
    """ICMP echo over an unprivileged ping socket."""
    six = ":" in address
    try:
        sock = socket.socket(family_of(address), socket.SOCK_DGRAM,
                             socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
        sock.settimeout(timeout)
        sock.connect((address, 0))
        sock.setsockopt(*((socket.IPPROTO_IPV6, 25, 1) if six else (socket.IPPROTO_IP, 11, 1)))
        sock.send(struct.pack("!BBHHH", 128 if six else 8, 0, 0, 0, 1) + b"lab")
        sock.recv(1024)
        return "OK"
    except OSError as error:
        return name_of(error)


def open_socket(family, kind, proto=0):
    try:
        socket.socket(family, kind, proto).close()
        return "OK"
    except OSError as error:
        return name_of(error)


def attempt(function, *args):
    try:
        value = function(*args)
        return "OK" if value is None or not isinstance(value, (str, list, dict)) else value
    except Exception as error:  # the test looks at the name
        return name_of(error)


result = None


GATEWAY, HTTP_PROXY, SOCKS_PROXY = "10.254.0.1", 3128, 1080
SOCKS_ERRORS = {1: "general", 2: "refused", 3: "ENETUNREACH", 4: "EHOSTUNREACH", 5: "ECONNREFUSED", 7: "command", 8: "address-type"}


def read_head(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(1)  # not a byte of what follows
        if not part:
            break
        data += part
    return data.decode("latin-1")


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += part
    return data


def literal(host):
    try:
        return socket.inet_pton(family_of(host), host)
    except OSError:
        return None


def authority(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def status_of(head):
    """What a reply of the HTTP proxy says, as errors are named elsewhere: "OK", "refused", or why it failed."""
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    status = head[9:12]
    if status == "200":
        return "OK", None
    reason = fields.get("X-Weir-Reason")
    return {"403": "refused", "503": "overload", "502": reason}.get(status, f"status {status}"), reason


def connect_tunnel(host, port, timeout=10):
    """-> (socket, "OK" or what the proxy said, reason)"""
    sock = socket.create_connection((GATEWAY, HTTP_PROXY), timeout)
    sock.sendall(f"CONNECT {authority(host, port)} HTTP/1.1\r\nHost: {authority(host, port)}\r\n\r\n".encode())
    return (sock, *status_of(read_head(sock)))


def socks_tunnel(host, port, timeout=10, command=1):
    sock = socket.create_connection((GATEWAY, SOCKS_PROXY), timeout)
    raw = literal(host)
    where = bytes([3, len(host)]) + host.encode() if raw is None else bytes([1 if len(raw) == 4 else 4]) + raw
    sock.sendall(b"\x05\x01\x00")
    assert read_exactly(sock, 2) == b"\x05\x00"
    sock.sendall(bytes([5, command, 0]) + where + struct.pack("!H", port))
    code = read_exactly(sock, 10)[1]
    return sock, SOCKS_ERRORS.get(code, "OK" if code == 0 else f"reply {code}"), None


def transparent_tunnel(host, port, timeout=10):
    family = socket.AF_INET6 if ":" in host or host.startswith("six") else socket.AF_INET
    try:
        address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
    except socket.gaierror as error:
        return None, "unresolved", str(error)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except OSError as error:
        return None, name_of(error), None
    return sock, "OK", None


TUNNELS = {"transparent": transparent_tunnel, "connect": connect_tunnel, "socks5h": socks_tunnel}


def fetch(entry, host, port, timeout=10, path="/"):
    """GET through one of the four doors. {"connect", "reason", "data"}"""
    request = f"GET {path} HTTP/1.1\r\nHost: {authority(host, port)}\r\nConnection: close\r\n\r\n"
    if entry == "absolute":
        sock = socket.create_connection((GATEWAY, HTTP_PROXY), timeout)
        sock.sendall(request.replace("GET ", f"GET http://{authority(host, port)}", 1).encode())
        head = read_head(sock)
        connect, reason = status_of(head)
    else:
        sock, connect, reason = TUNNELS[entry](host, port, timeout)
        if connect == "OK":
            sock.sendall(request.encode())
    data = b""
    try:
        while sock is not None and (part := sock.recv(65536)):
            data += part
        end = "eof"
    except OSError as error:
        end = name_of(error)
    return {"connect": connect, "reason": reason, "data": data.decode("latin-1"), "end": end}
