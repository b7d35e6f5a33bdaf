"""tests/data/http: the requests, their table, and reading what comes back for one."""
import os
import re
import socket
import time

FOLDER = os.path.join(os.path.dirname(__file__), "../data/http")
LISTENERS = ("scep", "est", "admin")
REPLY_SECONDS = 60
QUIET_SECONDS = 0.7

# Asked by no request of the corpus, but only by those that are hidden in another one.
HIDDEN_OPERATIONS = ("GetCACert", "csrattrs")
GOOD_TARGET = "/.well-known/est/cacerts?operation=GetCACaps"


class Case:
    """One request, and what each listener answers."""

    def __init__(self, name, statuses, end, what):
        self.name, self.what = name, what
        self.statuses = dict(zip(LISTENERS, ([int(s) for s in text.split(",")] for text in statuses)))
        ends = end.split(",")
        self.ends = dict(zip(LISTENERS, ends if len(ends) == 3 else ends * 3))
        if not set(ends) <= {"close", "keep"}:
            raise AssertionError(f"{name}: {end} is no END")
        with open(os.path.join(FOLDER, name + ".http"), "rb") as file:
            self.raw = file.read()

    def closes(self, listener):
        return self.ends[listener] == "close"

    @property
    def head(self):
        """A reply to HEAD has no body."""
        return self.raw.startswith(b"HEAD ")


def load():
    """Every file has one row, and every row its file."""
    cases = []
    with open(os.path.join(FOLDER, "table"), encoding="ascii") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                name, scep, est, admin, end, what = line.strip().split(maxsplit=5)
                cases.append(Case(name, (scep, est, admin), end, what))
    files = sorted(name[:-5] for name in os.listdir(FOLDER) if name.endswith(".http"))
    if files != sorted(case.name for case in cases):
        raise AssertionError(f"table and files differ: {set(files) ^ {case.name for case in cases}}")
    return cases


class Silence(AssertionError):
    """The other side says nothing and does not end the connection."""


class Reply:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body


class Client:
    """Reads replies as strictly as the gateway is to write them."""

    def __init__(self, connection):
        connection.settimeout(REPLY_SECONDS)
        self.connection, self.data, self.ended = connection, b"", False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, data):
        """What does not go through is not wanted: the other side has answered already."""
        try:
            self.connection.sendall(data)
        except OSError:
            pass

    def more(self):
        """False at the end of the connection."""
        try:
            data = b"" if self.ended else self.connection.recv(65536)
        except socket.timeout as error:
            raise Silence(f"nothing more came; until then {self.data[:300]}") from error
        except OSError:
            data = b""
        self.data += data
        self.ended = not data
        return not self.ended

    def reply(self, head=False):
        """The next reply, or None if the connection ends before it."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                if self.data:
                    raise AssertionError(f"no whole reply: {self.data[:300]}")
                return None
        top, _, rest = self.data.partition(b"\r\n\r\n")
        lines = top.decode("latin-1").split("\r\n")
        start = re.fullmatch(r"HTTP/1\.[01] (\d{3}) [ -~]*", lines[0])
        if not start:
            raise AssertionError(f"no status line: {lines[0]!r}")
        fields = dict(re.fullmatch(r"([A-Za-z-]+): ?(.*)", line).groups() for line in lines[1:])
        fields = {name.lower(): value for name, value in fields.items()}
        status = int(start.group(1))
        bodyless = head or status in (204, 304) or status < 200
        length = 0 if bodyless else int(fields.get("content-length", -1))
        self.data = rest
        if length < 0:
            return Reply(status, fields, self.body_without_length(fields))
        while len(self.data) < length:
            if not self.more():
                raise AssertionError(f"a body of {length} bytes ends after {len(self.data)}")
        body, self.data = self.data[:length], self.data[length:]
        return Reply(status, fields, body)

    def body_without_length(self, fields):
        """Edges may write chunks or end the connection; the gateway does neither."""
        if fields.get("transfer-encoding") != "chunked":
            while self.more():
                pass
            body, self.data = self.data, b""
            return body
        body = b""
        while True:
            size = int(self.take_line(), 16)
            while len(self.data) < size + 2:
                if not self.more():
                    raise AssertionError("a chunk ends early")
            body, self.data = body + self.data[:size], self.data[size + 2:]
            if not size:
                return body

    def take_line(self):
        while b"\r\n" not in self.data:
            if not self.more():
                raise AssertionError("a line ends early")
        line, _, self.data = self.data.partition(b"\r\n")
        return line.decode("latin-1")

    def is_quiet(self):
        """Nothing more comes for a while."""
        self.connection.settimeout(QUIET_SECONDS)
        try:
            return not self.data and not self.more()
        except Silence:
            return True
        finally:
            self.connection.settimeout(REPLY_SECONDS)

    def replies(self, head=False, count=1):
        """All until the connection ends, or nothing more comes for a while after so many final ones."""
        found = []
        while sum(reply.status >= 200 for reply in found) < count or not self.is_quiet():
            try:
                reply = self.reply(head)
            except Silence:
                if found and not self.data:
                    return found
                raise
            if reply is None:
                return found
            found.append(reply)
        return found


def probe(client, target=GOOD_TARGET, close=True):
    """One more request; its reply."""
    client.send(f"GET {target} HTTP/1.1\r\nHost: gateway\r\n{'Connection: close' if close else 'X: y'}\r\n\r\n".encode())
    return client.reply()


def fault(case, listener, connection, piece=1 << 20):
    """What is wrong with the gateway's own answer to one request, or None. It is sent in pieces of so many bytes."""
    with Client(connection) as client:
        for start in range(0, len(case.raw), piece):
            client.send(case.raw[start:start + piece])
            if piece < len(case.raw):
                time.sleep(0.001)
        for status in case.statuses[listener]:
            reply = client.reply(case.head)
            if reply is None or reply.status != status:
                return f"{reply and reply.status} instead of {status}"
            if "content-length" not in reply.fields and status != 204:
                return "a reply without Content-Length"
            if status == 405 and not reply.fields.get("allow"):
                return "405 without Allow"
        if case.closes(listener):
            if reply.fields.get("connection") != "close":
                return "the last reply does not say Connection: close"
            more = client.reply()
            return f"one more reply: {more.status}" if more else None
        if reply.fields.get("connection") == "close":
            return "Connection: close"
        more = probe(client)
        if more is None or more.status != (404 if listener == "admin" else 200):
            return f"out of step: the next request is answered {more and more.status}"
        return None


def wait_until(true, seconds=60):
    """Log lines are written after replies."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()
