"""Servers of the lab that guests try to reach: every one is a canary, it logs each connection and datagram it sees.

Run inside a namespace: origin_server.py CONFIG.json LOG.jsonl
CONFIG: {"tls": folder or null, "www": folder or null, "label": text,
         "tcp": {"80": "http", "443": "https", "7": "echo", ...}, "udp": {"7": "echo", ...}, "bind": [addresses]}
Without "bind" every server listens on all addresses of its namespace, IPv4 and IPv6.
"""

import http.server
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse

IP_PKTINFO = 8
IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50


class Log:
    def __init__(self, path):
        self.file = open(path, "a", buffering=1)
        self.lock = threading.Lock()

    def write(self, **line):
        line["time"] = time.time()
        with self.lock:
            self.file.write(json.dumps(line) + "\n")


def plain(address):
    """::ffff:192.0.2.1 -> 192.0.2.1"""
    return address[7:] if address.startswith("::ffff:") else address


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log = label = www = kind = None

    def log_message(self, *args):
        pass

    def _send(self, status, body, **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _file(self, path):
        full = os.path.realpath(os.path.join(self.www, path.lstrip("/")))
        if os.path.isdir(full):
            full = os.path.join(full, "index.html")
        if not full.startswith(os.path.realpath(self.www) + "/") or not os.path.isfile(full):
            return None
        with open(full, "rb") as file:
            return file.read()

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        here = plain(self.connection.getsockname()[0])
        self.log.write(event="request", server=self.label, kind=self.kind, dst=here, port=self.connection.getsockname()[1],
                       method=self.command, host=self.headers.get("Host", ""), path=self.path)
        kind, _, rest = url.path.lstrip("/").partition("/")
        if kind == "bytes":
            self._send(200, b"w" * int(rest))
        elif kind == "slow":
            self._slow(int(rest))
        elif kind == "hang":
            threading.Event().wait(60)
        elif kind == "redirect":
            self._send(302, b"", Location=urllib.parse.unquote(url.query))
        elif self.www and kind in ("files", "simple", "git"):
            body = self._file(url.path)
            kind = "text/html" if url.path.endswith(("/", ".html")) or body is None else "application/octet-stream"
            self._send(200 if body is not None else 404, body or b"no such file\n", **{"Content-Type": kind})
        else:
            text = f"weir lab: {self.label} served {self.headers.get('Host', '-')} at {here}\n"
            self._send(200, text.encode(), **{"Content-Type": "text/plain"})

    do_HEAD = do_GET

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        read = 0
        while read < length:
            try:
                chunk = self.rfile.read1(min(65536, length - read))
            except OSError:
                break
            if not chunk:
                break
            read += len(chunk)
        self.log.write(event="request", server=self.label, kind=self.kind, dst=plain(self.connection.getsockname()[0]),
                       port=self.connection.getsockname()[1], method="POST", host=self.headers.get("Host", ""),
                       path=self.path, body=read)
        self._send(200, f"{read}\n".encode())

    def _slow(self, size):
        """`size` bytes announced, sent in 100 parts over about ten seconds."""
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"s" * (size // 100))
            time.sleep(0.1)


def echo(conn, seen):
    """Half-close is honoured: the answer ends when the request ended and was echoed."""
    while True:
        data = conn.recv(65536)
        if not data:
            conn.shutdown(socket.SHUT_WR)
            return
        seen(data)
        conn.sendall(data)


def sink(conn, seen):
    while True:
        data = conn.recv(65536)
        if not data:
            return
        seen(data)


def count(conn, seen):
    """Reads to the end, then says how much came: shows that a half-close travelled."""
    total = 0
    while True:
        data = conn.recv(65536)
        if not data:
            break
        seen(data)
        total += len(data)
    conn.sendall(f"{total}\n".encode())


def banner(conn, seen):
    conn.sendall(b"220 lab speaks first\r\n")
    sink(conn, seen)


def hang(conn, seen):
    threading.Event().wait(120)


def reset(conn, seen):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def bye_early(conn, seen):
    """Closes its sending side first and still reads: half-close from the other end."""
    conn.sendall(b"all I have\n")
    conn.shutdown(socket.SHUT_WR)
    sink(conn, seen)


def flood(conn, seen):
    """Sends for ever: back-pressure must hold it."""
    block = b"f" * 65536
    while True:
        conn.sendall(block)


RAW = {"echo": echo, "sink": sink, "count": count, "banner": banner, "hang": hang, "reset": reset,
       "bye-early": bye_early, "flood": flood}


def raw_session(conn, kind, label, log):
    here = conn.getsockname()
    first, total = b"", 0

    def seen(data):
        nonlocal first, total
        first = (first + data)[:512]
        total += len(data)
    log.write(event="connect", server=label, kind=kind, dst=plain(here[0]), port=here[1])
    try:
        RAW[kind](conn, seen)
        end = "eof"
    except OSError as error:
        end = error.strerror
    conn.close()
    log.write(event="close", server=label, kind=kind, dst=plain(here[0]), port=here[1], bytes=total,
              first=first.hex(), end=end)


def web_session(conn, kind, label, log, tls, www):
    here = conn.getsockname()
    log.write(event="connect", server=label, kind=kind, dst=plain(here[0]), port=here[1])
    try:
        if kind == "https":
            conn = tls.wrap_socket(conn, server_side=True)
        handler = type("Handler", (Web,), {"log": log, "label": label, "www": www, "kind": kind})
        handler(conn, here, None)
    except (OSError, ValueError) as error:
        log.write(event="broken", server=label, kind=kind, dst=plain(here[0]), port=here[1], why=str(error))
    finally:
        conn.close()


def listener(address, port):
    family = socket.AF_INET if address and ":" not in address else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if address else 0)
    sock.bind((address or "::", port))
    sock.listen(4096)
    return sock


def serve_tcp(sock, kind, config, log, tls):
    def loop():
        while True:
            try:
                conn, _ = sock.accept()
            except OSError:
                continue
            if kind in RAW:
                args = (raw_session, (conn, kind, config["label"], log))
            else:
                args = (web_session, (conn, kind, config["label"], log, tls, config.get("www")))
            threading.Thread(target=args[0], args=args[1], daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()


def forge(sock, here, peer):
    """Answers that are none: from another port of the asked address, and from another address. -> how many were sent"""
    with socket.socket(socket.AF_INET6 if ":" in here else socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((here, 0))
        other.sendto(b"forged", (plain(peer[0]), peer[1]))
    source = "2606:2800:220::20" if ":" in here else "::ffff:93.184.216.20"
    info = socket.inet_pton(socket.AF_INET6, source) + bytes(4)
    sock.sendmsg([b"forged"], [(socket.IPPROTO_IPV6, IPV6_PKTINFO, info)], 0, peer)
    return 2


def ntp_answer(query):
    """RFC 5905 7.3: a stratum 1 server whose clock is this machine's."""
    now = int((time.time() + 2208988800) * 2**32).to_bytes(8, "big")
    return struct.pack("!BBbbII4s", 0x24, 1, 6, -20, 0, 0, b"LAB\0") + now + query[40:48] + now + now


def serve_udp(address, port, kind, config, log):
    """Answers from the address that was asked, which a socket bound to all addresses has to be told."""
    family = socket.AF_INET if address and ":" not in address else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if address else 0)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    sock.bind((address or "::", port))

    def loop():
        while True:
            data, ancillary, _, peer = sock.recvmsg(65535, 256)
            here = address or "?"
            for level, kind_, value in ancillary:
                if level == socket.IPPROTO_IPV6 and kind_ == IPV6_PKTINFO:
                    here = plain(socket.inet_ntop(socket.AF_INET6, value[:16]))
                    ancillary = [(level, kind_, value)]
            log.write(event="datagram", server=config["label"], kind=kind, dst=here, port=port, bytes=len(data),
                      first=data[:64].hex())
            if kind == "echo":
                sock.sendmsg([data], ancillary, 0, peer)
            elif kind == "forger":
                log.write(event="forged", count=forge(sock, here, peer))
                sock.sendmsg([b"true"], ancillary, 0, peer)
            elif kind == "clock":
                sock.sendmsg([ntp_answer(data)], ancillary, 0, peer)
    threading.Thread(target=loop, daemon=True).start()


def main():
    with open(sys.argv[1]) as file:
        config = json.load(file)
    log = Log(sys.argv[2])
    tls = None
    if config.get("tls"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(config["tls"] + "/cert.pem", config["tls"] + "/key.pem")
    for address in config.get("bind") or [None]:
        for port, kind in config.get("tcp", {}).items():
            serve_tcp(listener(address, int(port)), kind, config, log, tls)
        for port, kind in config.get("udp", {}).items():
            serve_udp(address, int(port), kind, config, log)
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
