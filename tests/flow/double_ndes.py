"""A double of NDES's page for administrators, after descriptions of it and what its readers look for. It is not NDES, and was
never compared with it."""
import base64
import hashlib
import hmac
import http.server
import os
import secrets
import socketserver
import ssl
import struct
import threading

USER, PASSWORD = "PLANT\\svc-scepter", "correct horse battery"
HEAD = ('<HTML><Head><Meta HTTP-Equiv="Content-Type" Content="text/html; charset=UTF-8">\r\n<Title>Network Device Enrollment '
        'Service</Title></Head><Body BgColor=#FFFFFF>\r\n<P> Network Device Enrollment Service allows you to obtain certificates'
        ' for routers or other network devices.\r\n')
SHOWN = ('<P> To complete certificate enrollment for your network device you will need the following information: \r\n<P> The '
         'thumbprint (hash value) for the CA certificate is: <B> A656FA66 AB12B433 A2DA5CF7 CC153D9A </B> \r\n<P> The enrollment '
         'challenge password is: <B> {} </B> \r\n<P> {}\r\n<P> Each enrollment requires a new challenge password. You can refresh '
         'this web page to obtain a new challenge password.\r\n')
ONCE = "This password can be used only once and will expire within {} minutes. "
OFTEN = "This password can be used multiple times and will not expire. "
FULL = "<P> The password cache is full. \r\n"
DENIED = "<P> You do not have sufficient permission to enroll with SCEP.  Please contact your system administrator. \r\n"
TAIL = "</Body></HTML>\r\n"

# Whoever signs for the CA: takes a CSR whose challengePassword was shown and not used, once.
VERIFIER = """#!/usr/bin/python3
import os, re, subprocess, sys
text = subprocess.run(["openssl", "req", "-inform", "DER", "-noout", "-text"], input=sys.stdin.buffer.read(), check=True,
                      stdout=subprocess.PIPE).stdout.decode()
shown = re.search(r"challengePassword\\s*:([0-9A-F]{16})$", text, re.M)
os.unlink(os.path.join(%r, shown[1]))
"""


def rotate(x, n):
    return (x << n | x >> 32 - n) & 0xffffffff


def md4(data):
    """RFC 1320: OpenSSL has it no more."""
    data += b"\x80" + bytes(-(len(data) + 9) % 64) + struct.pack("<Q", len(data) * 8)
    state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476]
    rounds = ((lambda x, y, z: x & y | ~x & z, 0, range(16), (3, 7, 11, 19)),
              (lambda x, y, z: x & y | x & z | y & z, 0x5a827999, [i % 4 * 4 + i // 4 for i in range(16)], (3, 5, 9, 13)),
              (lambda x, y, z: x ^ y ^ z, 0x6ed9eba1, (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15)))
    for at in range(0, len(data), 64):
        words = struct.unpack("<16I", data[at:at + 64])
        a, b, c, d = state
        for mix, constant, order, shifts in rounds:
            for i, k in enumerate(order):
                a, b, c, d = d, rotate(a + mix(b, c, d) + words[k] + constant & 0xffffffff, shifts[i % 4]), b, c
        state = [x + y & 0xffffffff for x, y in zip(state, (a, b, c, d))]
    return struct.pack("<4I", *state)


def ntlm_challenge(nonce):
    """CHALLENGE_MESSAGE of MS-NLMP, which asks for NTLMv2."""
    name = "PLANT".encode("utf-16le")
    info = struct.pack("<HH", 2, len(name)) + name + struct.pack("<HH", 0, 0)
    flags = 0x00000001 | 0x00000004 | 0x00000200 | 0x00008000 | 0x00010000 | 0x00080000 | 0x00800000
    return (b"NTLMSSP\0" + struct.pack("<IHHII", 2, len(name), len(name), 48, flags) + nonce + bytes(8) +
            struct.pack("<HHI", len(info), len(info), 48 + len(name)) + name + info)


def ntlm_proved(message, nonce):
    """Whether an AUTHENTICATE_MESSAGE shows that its sender knows the password."""
    def field(at):
        size, _, offset = struct.unpack_from("<HHI", message, at)
        return message[offset:offset + size]

    response, domain, user = field(20), field(28).decode("utf-16le"), field(36).decode("utf-16le")
    if f"{domain}\\{user}" != USER or len(response) < 24:
        return False
    key = hmac.digest(md4(PASSWORD.encode("utf-16le")), (user.upper() + domain).encode("utf-16le"), "md5")
    return hmac.compare_digest(hmac.digest(key, nonce + response[16:], "md5"), response[:16])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    nonce = None

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def let_in(self):
        """Whether the request proves who sends it; otherwise it has been answered."""
        page = self.server.page
        way, _, text = self.headers.get("Authorization", "").partition(" ")
        page.ways.append(way)
        if page.auth == "Basic" and way == "Basic":
            if base64.b64decode(text).decode() == f"{USER}:{PASSWORD}":
                return True
        elif page.auth == "NTLM" and way == "NTLM":
            message = base64.b64decode(text)
            if message[8:12] == b"\x01\0\0\0":
                self.nonce = os.urandom(8)
                self.answer(401, b"", ("WWW-Authenticate", "NTLM " + base64.b64encode(ntlm_challenge(self.nonce)).decode()))
                return False
            if self.nonce and ntlm_proved(message, self.nonce):
                return True
        self.answer(401, b"no", ("WWW-Authenticate", page.auth))
        return False

    def do_GET(self):
        page = self.server.page
        page.asked += 1
        if self.path == "/certsrv/mscep_admin":
            return self.answer(301, b"", ("Location", page.elsewhere or "/certsrv/mscep_admin/"))
        if not self.let_in():
            return None
        if self.path != "/certsrv/mscep_admin/":
            return self.answer(404)
        return self.answer(page.status, page.body())


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass


class Page:
    """folder holds a file for each password that was shown and not used."""

    def __init__(self, port, folder, certificate=None, key=None):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.reset()
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.page = self
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def reset(self):
        self.auth = "Basic"
        self.encoding = "utf-16le"  # without a byte order mark
        self.minutes = 60
        self.most = 5  # PasswordMax
        self.reusable = None  # the one password of UseSinglePassword
        self.allowed = True
        self.status = 200
        self.elsewhere = None  # where the folder without a slash points
        self.text = None  # instead of the page
        self.asked = 0
        self.ways = []
        self.last = None

    def unused(self):
        return os.listdir(self.folder)

    def body(self):
        if self.text is not None:
            return self.text
        if not self.allowed:
            middle = DENIED
        elif self.reusable:
            middle = SHOWN.format(self.reusable, OFTEN)
        elif len(self.unused()) >= self.most:
            middle = FULL
        else:
            self.last = secrets.token_hex(8).upper()
            with open(os.path.join(self.folder, self.last), "w", encoding="ascii"):
                pass
            middle = SHOWN.format(self.last, ONCE.format(self.minutes))
        return (HEAD + middle + TAIL).encode(self.encoding)

    def verifier(self, path):
        """Writes the program that a CA asks about each CSR."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(VERIFIER % self.folder)
        os.chmod(path, 0o755)
        return path

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


if hashlib.new("sha256") is None or md4(b"abc").hex() != "a448017aaf21d8525fc10ae87aa6729d":
    raise AssertionError("MD4")
