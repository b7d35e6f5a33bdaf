"""A proxy between a gateway and a CA that does to HTTP what networks and CAs do on bad days.

Every POST takes the next fault of the plan; without one it goes through. What reached the CA is counted.
"""
import collections
import http.client
import http.server
import socket
import socketserver
import ssl
import struct
import threading
import time


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("127.0.0.1", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Fault:
    """What happens to one exchange."""

    def __init__(self, name, asks, status=None, headers=(), change=None, delay=0, before=None):
        self.name = name
        self.asks = asks  # whether the CA hears of it
        self.status = status
        self.headers = headers
        self.change = change  # of the CA's (status, headers, body)
        self.delay = delay
        self.before = before  # of the body on its way to the CA


PASS = Fault("pass", True)
REFUSE = Fault("reset before the request is read", False)
LOSE = Fault("reply lost", True)
HALF = Fault("reset within the reply", True)
TWICE = Fault("reply sent twice", True)
SLOW = Fault("slow body", True)
GARBAGE = Fault("garbage", True)
HANG = Fault("no reply at all", False)
HANG_AFTER = Fault("no reply at all, the CA was asked", True)


def answers(status, *headers):
    return Fault(f"{status}", False, status, headers)


def changed(name, change):
    return Fault(name, True, change=change)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reset(self):
        """An RST instead of a FIN."""
        sock = self.connection
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        sock.close()

    def forward(self, body):
        proxy = self.server.proxy
        skip = ("connection", "content-length") + (() if proxy.keep_host else ("host",))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in skip}
        for _ in range(50):  # the CA may be starting
            connection = proxy.connect()
            try:
                connection.request(self.command, self.path, body, headers)
                reply = connection.getresponse()
                return reply.status, reply.getheaders(), reply.read()
            except ConnectionRefusedError:
                time.sleep(0.1)
            finally:
                connection.close()
        raise ConnectionError("the CA does not listen")

    def answer(self, status, headers, body):
        skip = ("connection", "content-length", "transfer-encoding", "date", "server", "keep-alive")
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in skip:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(*self.forward(None))

    def do_HEAD(self):
        self.answer(*self.forward(None))
    def do_PUT(self):
        self.answer(*self.forward(self.rfile.read(int(self.headers.get("Content-Length", 0)))))

    def do_POST(self):
        proxy = self.server.proxy
        fault = proxy.next(self.path)
        if fault is REFUSE:
            return self.reset()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy.bodies.append(body)
        body = fault.before(body) if fault.before else body
        if fault is HANG:
            proxy.over.wait(60)
            return self.reset()
        if not fault.asks:
            return self.answer(fault.status, fault.headers, b"later\n")
        status, headers, reply = self.forward(body)
        proxy.asked += 1
        proxy.replies.append((status, reply))
        proxy.paths.append((self.path, status))
        if fault is HANG_AFTER:
            proxy.over.wait(60)
            return self.reset()
        if fault is LOSE:
            return self.reset()
        if fault is GARBAGE:
            return self.answer(200, headers, b"\x00\xff this is no certificate \x30\x82" * 20)
        if fault.change:
            status, headers, reply = fault.change(status, headers, reply)
        if fault is HALF:
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply[:len(reply) // 2])
            self.wfile.flush()
            return self.reset()
        if fault is SLOW:
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            try:
                for i in range(0, len(reply), 64):
                    self.wfile.write(reply[i:i + 64])
                    self.wfile.flush()
                    if proxy.over.wait(1):
                        break
            except OSError:
                pass
            return self.reset()
        self.answer(status, headers, reply)
        if fault is TWICE:
            self.answer(status, headers, reply)
            self.close_connection = True

    def handle(self):
        try:
            super().handle()
        except (OSError, http.client.HTTPException):
            pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass

    def finish_request(self, request, client_address):
        context = self.proxy.server_context
        if context:
            request.settimeout(20)
            try:
                request = context.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError):
                return
            request.settimeout(None)
        super().finish_request(request, client_address)
        request.close()


class FaultProxy:
    """Listens on 127.0.0.1:port and speaks to 127.0.0.1:target, or to the unix socket target; with certificate and key
    over TLS on both sides."""

    def __init__(self, port, target, certificate=None, key=None, only=""):
        self.target = target
        self.only = only  # faults are for paths that end so
        self.plan = collections.deque()
        self.lock = threading.Lock()
        self.asked = 0
        self.bodies = []
        self.replies = []
        self.paths = []
        self.keep_host = False  # of CAs that make URLs of it
        self.port = port
        self.over = threading.Event()
        self.server_context = self.client_context = None
        if certificate:
            self.server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.server_context.load_cert_chain(certificate, key)
            self.client_context = ssl._create_unverified_context()  # loopback, in a test
        self.start()

    def start(self):
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.proxy = self
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self):
        """Nobody listens any more."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def connect(self):
        if isinstance(self.target, str):
            return UnixConnection(self.target)
        if self.client_context:
            return http.client.HTTPSConnection("127.0.0.1", self.target, timeout=60, context=self.client_context)
        return http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)

    def next(self, path):
        with self.lock:
            return self.plan.popleft() if self.plan and self.only in path else PASS

    def reset(self, *plan):
        """A new plan; the counts begin anew."""
        with self.lock:
            self.plan = collections.deque(plan)
            self.asked = 0
            self.bodies, self.replies, self.paths = [], [], []

    def close(self):
        self.over.set()
        self.stop()
