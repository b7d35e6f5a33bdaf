"""A proxy between a gateway and a CA that does to HTTP what networks and CAs do on bad days.

Every POST takes the next fault of the plan; without one it goes through. stick() gives all requests for a path the same fault,
whatever their method. Connections have a plan of their own. What reached the CA is counted.
"""
import collections
import http.client
import http.server
import select
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
        self.delay = delay  # seconds, of what the proxy answers by itself
        self.before = before  # of the body on its way to the CA

    def befalls(self, method):
        """Not all is possible, or another fault than the rest, where nothing is sent or nothing comes back."""
        if method == "POST":
            return True
        return self not in (WITHIN, HANG_AFTER) and (method == "GET" or self not in (HALF, SLOW, GARBAGE, EMPTY))


SECRET_TEXT = "what-only-an-operator-shall-read"  # in the body of whatever the proxy answers by itself

PASS = Fault("pass", True)
REFUSE = Fault("reset before the request's body is read", False)
WITHIN = Fault("reset within the request's body", False)
LOSE = Fault("reply lost", True)
HEAD = Fault("reset within the reply's head", True)
HALF = Fault("reset within the reply's body", True)
TWICE = Fault("reply sent twice", True)
SLOW = Fault("reply byte by byte", True)
GARBAGE = Fault("garbage", True)
EMPTY = Fault("200 without a body", True)
HANG = Fault("no reply, the CA did not hear", False)
HANG_AFTER = Fault("no reply, the CA was asked", True)
# Of connections.
REFUSED = Fault("connection refused", False)  # of all, until the proxy listens again
CUT = Fault("reset within the TLS handshake", False)
EARLY = Fault("reset before the request's head is read", False)


def answers(status, *headers):
    return Fault(f"{status}", False, status, headers)


def changed(name, change):
    return Fault(name, True, change=change)


def reset(sock):
    """An RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    last = False  # of its connection

    def log_message(self, *args):
        pass

    def reset(self):
        self.close_connection = True
        reset(self.connection)

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
        if self.last:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def read_body(self, fault):
        length = int(self.headers.get("Content-Length", 0))
        return self.rfile.read(length // 2 if fault is WITHIN else length)

    def exchange(self):
        proxy = self.server.proxy
        note = proxy.note(self.command, self.path)
        fault = note.fault
        if fault is REFUSE:
            return self.reset()
        body = self.read_body(fault)
        if fault is WITHIN:
            return self.reset()
        if self.command == "POST":
            proxy.bodies.append(body)
        body = fault.before(body) if fault.before else body
        if fault is HANG:
            proxy.over.wait(60)
            return self.reset()
        if not fault.asks:
            time.sleep(fault.delay)
            note.answered = time.monotonic()
            return self.answer(fault.status, [("Content-Type", "text/plain"), *fault.headers], SECRET_TEXT.encode())
        status, headers, reply = self.forward(body if self.command in ("POST", "PUT") else None)
        note.status = status
        if self.command == "POST":
            proxy.asked += 1
            proxy.replies.append((status, reply))
            proxy.paths.append((self.path, status))
            proxy.heard.append(body)
        self.last = proxy.spring(self.path, status, reply)
        if fault.change:
            status, headers, reply = fault.change(status, headers, reply)
        return self.give(fault, status, headers, reply)

    def give(self, fault, status, headers, reply):
        """The CA's answer, as far as it comes."""
        proxy = self.server.proxy
        if fault is HANG_AFTER:
            proxy.over.wait(60)
        if fault in (HANG_AFTER, LOSE):
            return self.reset()
        if fault is GARBAGE:
            return self.answer(200, headers, b"\x00\xff this is no certificate \x30\x82" * 20)
        if fault is EMPTY:
            return self.answer(200, headers, b"")
        if fault is HEAD:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
            self.wfile.flush()
            return self.reset()
        if fault in (HALF, SLOW):
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            return self.drip(reply) if fault is SLOW else self.half(reply)
        self.answer(status, headers, reply)
        if fault is TWICE:
            self.answer(status, headers, reply)
            self.close_connection = True
        return None

    def half(self, reply):
        self.wfile.write(reply[:len(reply) // 2])
        self.wfile.flush()
        self.reset()

    def drip(self, reply):
        try:
            for i in range(len(reply)):
                self.wfile.write(reply[i:i + 1])
                self.wfile.flush()
                if self.server.proxy.over.wait(0.5):
                    break
        except OSError:
            pass
        self.reset()

    do_GET = do_HEAD = do_POST = do_PUT = exchange

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
        proxy = self.proxy
        fault = proxy.next_connection()
        try:
            request = self.secure(request, fault)
            proxy.keep_connection(request)
            if fault is EARLY:
                select.select([request], [], [], 20)
                reset(request)
            elif request:
                super().finish_request(request, client_address)
                request.close()
        finally:
            proxy.forget_connection()

    def secure(self, request, fault):
        """None: there is nobody to speak to."""
        context = self.proxy.server_context
        if fault is CUT:
            request.recv(1)
            return reset(request)
        if not context:
            return request
        request.settimeout(20)
        try:
            request = context.wrap_socket(request, server_side=True)
        except (OSError, ssl.SSLError):
            return None
        request.settimeout(None)
        return request


class Note:
    """One request."""

    def __init__(self, method, path, fault):
        self.at = time.monotonic()
        self.method, self.path, self.fault = method, path, fault
        self.status = None  # of the CA's answer
        self.answered = None  # when it was told to come later


class FaultProxy:
    """Listens on 127.0.0.1:port and speaks to 127.0.0.1:target, or to the unix socket target; with certificate and key
    over TLS on both sides."""

    def __init__(self, port, target, certificate=None, key=None, only=""):
        self.target = target
        self.only = only  # faults are for paths that end so
        self.plan = collections.deque()
        self.connections = collections.deque()  # faults of the next ones
        self.stuck = None  # (part of a path, fault)
        self.trap = None  # (part of a path, part of an answer, fault)
        self.struck = None  # when a connection met its fault
        self.notes = []  # of whatever came
        self.live = {}  # a thread's connection
        self.lock = threading.Lock()
        self.asked = 0
        self.bodies = []
        self.replies = []
        self.paths = []
        self.heard = []  # the bodies to these paths
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
        self.listens = True
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.proxy = self
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self):
        """Nobody listens any more."""
        if self.listens:
            self.listens = False
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
        """Of a POST."""
        with self.lock:
            return self.plan.popleft() if self.plan and self.only in path else PASS

    def note(self, method, path):
        """Something came: what befalls it."""
        with self.lock:
            fault = self.stuck[1] if self.stuck and self.stuck[0] in path else None
        if not fault:
            fault = self.next(path) if method == "POST" else PASS
        self.notes.append(Note(method, path, fault))
        return self.notes[-1]

    def next_connection(self):
        with self.lock:
            if not self.connections:
                return PASS
            self.struck = time.monotonic()
            return self.connections.popleft()

    def keep_connection(self, request):
        with self.lock:
            self.live[threading.get_ident()] = request

    def forget_connection(self):
        with self.lock:
            self.live.pop(threading.get_ident(), None)

    def strike(self, fault, times=1):
        """So many connections meet it, beginning with the next."""
        if fault is REFUSED:
            self.stop()
        else:
            with self.lock:
                self.connections.extend([fault] * times)
        self.hang_up()

    def arm(self, fault, path, word=b""):
        """It strikes when a request for that path has got a good answer that has that word in it, before it is given."""
        with self.lock:
            self.trap = (path, word, fault)

    def spring(self, path, status, reply):
        with self.lock:
            trap = self.trap
            if not trap or trap[0] not in path or status // 100 != 2 or trap[1] not in reply:
                return False
            self.trap = None
        self.strike(trap[2])
        return True

    def hang_up(self):
        """On whoever keeps a connection, but for who is being answered."""
        with self.lock:
            for request in (r for thread, r in self.live.items() if r and thread != threading.get_ident()):
                try:
                    socket.socket.shutdown(request, socket.SHUT_RDWR)
                except OSError:
                    pass

    def stick(self, path, fault):
        with self.lock:
            self.stuck = (path, fault)

    def reset(self, *plan):
        """A new plan; the counts begin anew."""
        with self.lock:
            self.plan = collections.deque(plan)
            self.connections.clear()
            self.stuck = self.trap = self.struck = None
            self.asked = 0
            self.notes, self.bodies, self.replies, self.paths, self.heard = [], [], [], [], []

    def close(self):
        self.over.set()
        self.stop()
