"""An HTTP server that says exactly what it is told, well-formed or not, and logs the request heads it saw.

raw_http_server.py LOG.jsonl ADDRESS:PORT...   The path of a request names the answer: see ANSWERS.
"""

import json
import socket
import sys
import threading
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
ANSWERS = {
    "/ok": OK,
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "/close": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "/no-reason": b"HTTP/1.1 204\r\n\r\n",
    "/continue": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "/hop": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X-Mine\r\nX-Mine: 1\r\nProxy-Authenticate: Basic\r\nX-Kept: 2\r\n\r\nhello",
    "/old": b"HTTP/1.0 200 OK\r\n\r\nhello",
    # What follows is no HTTP/1 response, or more than one reading of it.
    "/two": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
    "/length-and-chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "/gzip-chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "/old-chunked": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "/bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "/folded": b"HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    "/switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nsecret",
    "/garbage": b"SSH-2.0-lab\r\n",
    "/nothing": b"",
    "/interim-flood": b"HTTP/1.1 102 Processing\r\n\r\n" * 100000,
    "/interim-length": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + OK,
    "/endless-head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000000,
    "/drops-length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Content-Length\r\n\r\nhello",
    # Begins well.
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
    "/bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n0\r\n\r\n",
}
CLOSES = {"/close", "/old", "/garbage", "/nothing", "/short"}


def serve(conn, log):
    number = 0
    data = b""
    with conn:
        while True:
            while b"\r\n\r\n" not in data:
                part = conn.recv(65536)
                if not part:
                    return
                data += part
            head, data = data.split(b"\r\n\r\n", 1)
            lines = head.decode("latin-1").split("\r\n")
            fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:]}
            length = int(fields.get("content-length", "0"))
            while len(data) < length:
                data += conn.recv(65536)
            body, data = data[:length], data[length:]
            number += 1
            log.write(json.dumps({"head": lines, "number": number, "body": len(body)}) + "\n")
            path = lines[0].split(" ")[1]
            if path == "/stale" and number > 1:
                return  # an idle connection that ends just as the next request comes
            if path == "/slow":
                time.sleep(30)
            conn.sendall(ANSWERS.get(path, OK))
            if path in CLOSES:
                return


def guarded(conn, log):
    try:
        serve(conn, log)
    except OSError:
        pass


def main():
    log = open(sys.argv[1], "a", buffering=1)
    for where in sys.argv[2:]:
        host, port = where.rsplit(":", 1)
        sock = socket.create_server((host, int(port)), backlog=1024)

        def loop(sock=sock):
            while True:
                threading.Thread(target=guarded, args=(sock.accept()[0], log), daemon=True).start()
        threading.Thread(target=loop, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
