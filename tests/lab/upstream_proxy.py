"""A proxy of the user's own, HTTP and SOCKS5, that does what the name it is asked for says. Every request is one line.

    upstream_proxy.py LOG HTTP_PORT SOCKS_PORT NAMES.json

NAMES says where the names lead that it serves. Other names are misbehaviours: see http_answers() and SOCKS_ANSWERS.
Prints "ready" when both ports listen.
"""

import base64
import json
import socket
import struct
import sys
import threading
import time

LOG = threading.Lock()
OUTGOING = "172.30.0.2"  # what the world sees of this proxy


def log(path, **fields):
    with LOG, open(path, "a") as file:
        file.write(json.dumps(fields) + "\n")


def relay(one, two):
    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    other = threading.Thread(target=pump, args=(two, one), daemon=True)
    other.start()
    pump(one, two)
    other.join()


def dial(host, port, names):
    address = names.get(host, host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        sock.bind((OUTGOING, 0))
    sock.settimeout(10)
    sock.connect((address, port))
    sock.settimeout(None)
    return sock


def read_until(sock, end):
    data = b""
    while end not in data:
        part = sock.recv(1)
        if not part:
            return data
        data += part
    return data


def drain(sock):
    """Until the other side is gone: what weir gives up, it closes."""
    try:
        while sock.recv(65536):
            pass
    except OSError:
        pass


OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def http_misbehave(sock, host):
    """True if the name is that of a misbehaviour, and it was done."""
    say = sock.sendall
    if host.startswith("status-"):
        code = host.split("-")[1].split(".")[0]
        say(f"HTTP/1.1 {code} No\r\nContent-Length: 6\r\n\r\nno way".encode())
    elif host == "eager.test":
        say(OK + b"first bytes of the tunnel")
    elif host == "bodied.test":
        say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnot a body, a tunnel")
    elif host == "interim.test":
        say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK + b"after interim answers")
    elif host == "dribble.test":
        for byte in OK + b"slowly":
            say(bytes([byte]))
            time.sleep(0.002)  # what makes them arrive one by one
    elif host == "huge.test":
        try:
            say(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"a" * 8000 + b"\r\n")
            for _ in range(1000):
                say(b"X-Filler: " + b"a" * 8000 + b"\r\n")
        except OSError:
            pass
    elif host == "garbage.test":
        say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    elif host == "binary.test":
        say(bytes(range(256)) * 16)
    elif host == "switching.test":
        say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
    elif host == "close.test":
        return True
    elif host == "half.test":
        say(b"HTTP/1.1 20")
        return True
    elif host != "silent.test":
        return False
    sock.shutdown(socket.SHUT_WR) if host not in ("silent.test", "huge.test") else None
    drain(sock)
    return True


def serve_http(sock, path, names):
    head = read_until(sock, b"\r\n\r\n").decode("latin-1")
    line = head.split("\r\n")[0]
    auth = [item.split(" ", 2)[2] for item in head.split("\r\n") if item.lower().startswith("proxy-authorization: basic")]
    target = line.split(" ")[1] if line.count(" ") == 2 else ""
    log(path, proto="http", line=line, target=target, auth=base64.b64decode(auth[0]).decode() if auth else None)
    if not line.startswith("CONNECT "):
        return
    host, port = target.rsplit(":", 1)
    host = host.strip("[]")
    if http_misbehave(sock, host):
        return
    try:
        upstream = dial(host, int(port), names)
    except OSError:
        sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        return
    sock.sendall(OK)
    relay(sock, upstream)


# What a SOCKS server answers to a request for these names.
SOCKS_ANSWERS = {
    "eager.test": b"\5\0\0\1\0\0\0\0\0\0first bytes of the tunnel",
    "named.test": b"\5\0\0\3\4host\0\7after a name",
    "garbage.test": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "reserved.test": b"\5\0\7\1\0\0\0\0\0\0",
    "half.test": b"\5\0\0\1\0",
}


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise OSError("short")
        data += part
    return data


def socks_login(sock, methods):
    """The user and password of the greeting's other side, or None."""
    if 2 not in methods:
        sock.sendall(b"\5\0")
        return None
    sock.sendall(b"\5\2")
    read_exactly(sock, 1)
    user = read_exactly(sock, read_exactly(sock, 1)[0]).decode()
    password = read_exactly(sock, read_exactly(sock, 1)[0]).decode()
    sock.sendall(b"\1\0" if password != "wrong" else b"\1\1")
    return f"{user}:{password}"


def serve_socks(sock, path, names):
    methods = read_exactly(sock, read_exactly(sock, 2)[1])
    auth = socks_login(sock, methods)
    kind = read_exactly(sock, 4)[3]
    if kind == 3:
        host = read_exactly(sock, read_exactly(sock, 1)[0]).decode()
    else:
        host = socket.inet_ntop(*((socket.AF_INET, read_exactly(sock, 4)) if kind == 1 else
                                  (socket.AF_INET6, read_exactly(sock, 16))))
    port = struct.unpack("!H", read_exactly(sock, 2))[0]
    log(path, proto="socks", kind=kind, target=f"{host}:{port}", auth=auth)
    if host.startswith("reply-"):
        sock.sendall(bytes([5, int(host.split("-")[1].split(".")[0]), 0, 1, 0, 0, 0, 0, 0, 0]))
        return
    if host == "dribble.test":
        for byte in b"\5\0\0\1\0\0\0\0\0\0slowly":
            sock.sendall(bytes([byte]))
            time.sleep(0.002)  # what makes them arrive one by one
        return
    if host in SOCKS_ANSWERS:
        sock.sendall(SOCKS_ANSWERS[host])
        return sock.shutdown(socket.SHUT_WR) or drain(sock)
    if host == "silent.test":
        return drain(sock)
    try:
        upstream = dial(host, port, names)
    except OSError:
        sock.sendall(b"\5\4\0\1\0\0\0\0\0\0")
        return
    sock.sendall(b"\5\0\0\1\0\0\0\0\0\0")
    relay(sock, upstream)


def listen(port, serve, path, names):
    server = socket.create_server(("127.0.0.1", port), backlog=256)

    def one(sock):
        with sock:
            try:
                serve(sock, path, names)
            except OSError:
                pass

    def forever():
        while True:
            threading.Thread(target=one, args=(server.accept()[0],), daemon=True).start()
    threading.Thread(target=forever, daemon=True).start()


def main(path, http_port, socks_port, names_file):
    with open(names_file) as file:
        names = json.load(file)
    listen(int(http_port), serve_http, path, names)
    listen(int(socks_port), serve_socks, path, names)
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
