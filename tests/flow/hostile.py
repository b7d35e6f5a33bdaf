"""Hostile clients: many connections of one kind at once, held until the end. A program of its own, so that it takes no
time from whoever measures: hostile.py KIND COUNT HOST PORT SECONDS. Prints how many connections it has when all are
open, keeps attacking, and ends after SECONDS or when its standard input is closed."""
import resource
import select
import socket
import ssl
import sys
import time

GET = b"GET /scep/default?operation=GetCACert HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
ENROLL = (b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Type: application/pkcs10\r\n"
          b"Content-Length: 100000\r\n\r\n")
CACERTS = b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n\r\n"
ADDRESS = "127.0.0.3"


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE


def client_hello():
    """A whole first record, as OpenSSL writes it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = CONTEXT.wrap_bio(incoming, outgoing)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def connect(address, receive_buffer=0):
    s = socket.socket()
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.bind((ADDRESS, 0))
    s.connect(address)
    return s


def handshaken(address):
    return CONTEXT.wrap_socket(connect(address))


def sending(data, port):
    def begin(address):
        s = connect(address)
        s.sendall(data)
        return s
    return begin, port


def in_tls(data, answered=False):
    def begin(address):
        s = handshaken(address)
        s.sendall(data)
        if answered:
            s.recv(65536)
        return s
    return begin, "tls"


def never_reading(address):
    """Asks again and again, and never reads the answers."""
    s = connect(address, receive_buffer=2048)
    s.setblocking(False)
    request = (GET + b"\r\n") * 400
    try:
        while s.send(request):
            pass
    except OSError:
        pass
    return s


HELLO = client_hello()

# Each: how a connection begins, and at which port. What trickles goes on with a byte at a time.
KINDS = {
    "silent": (connect, "http"),
    "silent-tls": (connect, "tls"),
    "head-trickle": sending(GET, "http"),
    "body-trickle": sending(POST, "http"),
    "half-hello": sending(HELLO[:100], "tls"),
    "hello-stall": sending(HELLO, "tls"),
    "handshake-silent": (handshaken, "tls"),
    "unread-body-tls": in_tls(ENROLL),
    "idle-kept": in_tls(CACERTS, answered=True),
    "never-read": (never_reading, "http"),
    "half-proxy": sending(b"PROXY TCP4 192.0.2.1 ", "http"),
}


def trickle(sockets, kind):
    for s in sockets:
        try:
            s.send(b"a" if kind != "never-read" else GET + b"\r\n")
        except OSError:
            pass


def main():
    kind, count, host, port, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(count, hard - 50)
    sockets = []
    end = time.monotonic() + seconds
    for _ in range(count):
        try:
            sockets.append(KINDS[kind][0]((host, port)))
        except OSError:
            pass  # turned away: that is an answer as well
    print(len(sockets), flush=True)
    while time.monotonic() < end:
        if "trickle" in kind or kind == "never-read":
            trickle(sockets, kind)
        if select.select([sys.stdin], [], [], 0.2)[0]:
            return


if __name__ == "__main__":
    main()
