"""Servers of protocols whose first words are not the client's TLS or HTTP, and HTTP servers that answer oddly.

Run inside a namespace: protocol_server.py TLS-FOLDER ADDRESS...   (ports: PORTS)
Every server is a canary: the kernel counts what arrives for it.
"""

import base64
import hashlib
import os
import socket
import ssl
import struct
import sys
import threading

PORTS = {"smtp": 2525, "greeting": 3306, "word": 4000, "websocket": 8090, "odd": 8091, "continue": 8092}
# Ends and lengths that two readers could take differently, and interim answers without end.
ODD = {
    "flood": b"HTTP/1.1 100 Continue\r\n\r\n" * 2000 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "both": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    "head": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\nok",
    "101-in-a-body": b"HTTP/1.1 200 OK\r\nContent-Length: 52\r\n\r\nHTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nxxxxx\r\n",
    "101-to-h2c": b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "declined": b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",
}


def head_of(conn):
    data = b""
    while b"\r\n\r\n" not in data:
        part = conn.recv(65536)
        if not part:
            return None
        data += part
    return data


def smtp(conn, tls):
    conn.sendall(b"220 lab ESMTP\r\n")
    file = conn.makefile("rb")
    while line := file.readline():
        word = line.strip().upper()
        if word.startswith(b"EHLO"):
            conn.sendall(b"250-lab\r\n250 STARTTLS\r\n")
        elif word == b"STARTTLS":
            conn.sendall(b"220 go ahead\r\n")
            with tls.wrap_socket(conn, server_side=True) as secure:
                return secure.recv(1000)
        else:
            conn.sendall(b"221 bye\r\n")


def greeting(conn, tls):
    """As MySQL: the server's packet first, with a salt; then the client's, binary; then OK or an error."""
    hello = b"\x0a8.0.0-lab\0" + struct.pack("<I", 7) + b"12345678\0" + b"\x00\x82\x21\x02\x00\x08\x00\x15" + bytes(10) + b"123456789012\0"
    conn.sendall(struct.pack("<I", len(hello))[:3] + b"\0" + hello)
    answer = conn.recv(65536)
    refusal = b"\xff" + struct.pack("<H", 1045) + b"#28000the lab lets nobody in, " + str(len(answer)).encode() + b" bytes"
    conn.sendall(struct.pack("<I", len(refusal))[:3] + b"\2" + refusal)


def word(conn, tls):
    """A word without a line end is answered."""
    while data := conn.recv(65536):
        conn.sendall(b"heard " + data)


def websocket(conn, tls):
    """RFC 6455, unmasking and echoing what comes; after the handshake everything is counted as it is."""
    head = head_of(conn)
    if head is None:
        return
    key = next(line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
                 accept + b"\r\n\r\n")
    while frame := conn.recv(65536):
        length, mask, body = frame[1] & 127, frame[2:6], frame[6:]
        if frame[0] & 15 == 8:
            return conn.sendall(b"\x88\x02\x03\xe8")
        conn.sendall(bytes([frame[0], length]) + bytes(byte ^ mask[i % 4] for i, byte in enumerate(body[:length])))


def odd(conn, tls):
    """GET /KIND is answered with ODD[KIND]; any further request on the connection is answered with whom it asked for."""
    head = head_of(conn)
    if head is None:
        return
    conn.sendall(ODD[head.split()[1].decode().lstrip("/")])
    while (head := head_of(conn)) is not None:
        host = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"host:")), b"host: none")
        body = b"second " + host.split(b":", 1)[1].strip()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)


def expect_continue(conn, tls):
    head = head_of(conn)
    if head is None:
        return
    conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    left = int(fields.get(b"content-length", b"0")) - len(head.split(b"\r\n\r\n", 1)[1])
    while left > 0 and (data := conn.recv(65536)):
        left -= len(data)
    asked = b"asked" if fields.get(b"expect", b"").strip() == b"100-continue" else b"did not ask"
    conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + str(len(asked)).encode() + b"\r\n\r\n" + asked)


HANDLERS = {"smtp": smtp, "greeting": greeting, "word": word, "websocket": websocket, "odd": odd, "continue": expect_continue}


def session(handler, conn, tls):
    try:
        handler(conn, tls)
    except (OSError, ValueError, StopIteration, KeyError, IndexError):
        pass  # a peer that is cut off; the test looks at what its program saw
    finally:
        conn.close()


def accept(sock, handler, tls):
    while True:
        conn, _ = sock.accept()
        threading.Thread(target=session, args=(handler, conn, tls), daemon=True).start()


def main():
    folder, *addresses = sys.argv[1:]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    for address in addresses:
        for kind, port in PORTS.items():
            sock = socket.create_server((address, port), backlog=1024)
            threading.Thread(target=accept, args=(sock, HANDLERS[kind], tls), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
