"""DER read strictly and written plainly: what the tests look at, they look at with eyes of their own."""
import os

from gateway import run

INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, UTF8, PRINTABLE = 2, 3, 4, 5, 6, 12, 19
SEQUENCE, SET, CONTEXT = 0x30, 0x31, 0xA0


class Node:
    """One element: its tag octet, its content, and the whole of it."""

    def __init__(self, tag, content, whole):
        self.tag, self.content, self.whole = tag, content, whole

    @property
    def items(self):
        """The elements within."""
        if not self.tag & 0x20:
            raise ValueError(f"tag {self.tag:#x} has nothing within")
        return read_all(self.content)

    def __getitem__(self, at):
        return self.items[at]

    @property
    def oid(self):
        if self.tag != OID:
            raise ValueError(f"tag {self.tag:#x} is no OID")
        return dotted(self.content)

    @property
    def number(self):
        if self.tag != INTEGER:
            raise ValueError(f"tag {self.tag:#x} is no INTEGER")
        return int.from_bytes(self.content, "big", signed=True)

    def all(self):
        """This element and everything within it."""
        yield self
        if self.tag & 0x20:
            for item in self.items:
                yield from item.all()


def take(data):
    """The first element and what is behind it. BER that is no DER is an error."""
    if len(data) < 2 or data[0] & 0x1f == 0x1f:
        raise ValueError("no element")
    length, start = data[1], 2
    if length & 0x80:
        count = length & 0x7f
        length, start = int.from_bytes(data[2:2 + count], "big"), 2 + count
        if not count or length < 0x80 or not data[2]:
            raise ValueError("a length that DER does not have")
    if len(data) < start + length:
        raise ValueError("an element that is cut off")
    return Node(data[0], data[start:start + length], data[:start + length]), data[start + length:]


def read_all(data):
    nodes = []
    while data:
        node, data = take(data)
        nodes.append(node)
    return nodes


def read(data):
    """Exactly one element."""
    node, rest = take(data)
    if rest:
        raise ValueError(f"{len(rest)} octets behind the element")
    return node


def dotted(content):
    numbers, value = [], 0
    for octet in content:
        value = value << 7 | octet & 0x7f
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(n) for n in [first, numbers[0] - 40 * first] + numbers[1:])


def head(tag, length):
    """Tag and length octets."""
    if length < 0x80:
        return bytes([tag, length])
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets


def write(tag, *parts):
    content = b"".join(parts)
    return head(tag, len(content)) + content


def number(value):
    return write(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def oid(text):
    numbers = [int(part) for part in text.split(".")]
    content = b""
    for value in [40 * numbers[0] + numbers[1]] + numbers[2:]:
        octets = [value & 0x7f]
        while value := value >> 7:
            octets.insert(0, value & 0x7f | 0x80)
        content += bytes(octets)
    return write(OID, content)


def name(*attributes, string=0x0C):
    """A Name of ("2.5.4.3", "value") in sets of their own."""
    return write(SEQUENCE, *(write(SET, write(SEQUENCE, oid(kind), write(string, value.encode()))) for kind, value in attributes))


def dns_names(*names):
    return write(SEQUENCE, *(write(0x82, n.encode()) for n in names))


def change_subject_name(*parts):
    return write(SEQUENCE, oid("1.3.6.1.5.5.7.7.36"), write(SET, write(SEQUENCE, *parts)))


def resign(work, csr, *, key="key.pem", subject=None, spki=None, attributes=()):
    """The CSR with another subject or key, or with more attributes, signed anew by the EC or RSA key (SHA-256)."""
    info, algorithm, _ = read(csr).items
    version, old_subject, old_spki, *rest = info.items
    held = [attribute.whole for attribute in rest[0].items] if rest else []
    info = write(SEQUENCE, version.whole, subject or old_subject.whole, spki or old_spki.whole,
                 write(CONTEXT, *sorted(held + list(attributes))))
    signature = run("openssl", "dgst", "-sha256", "-sign", os.path.join(work, key), input=info).stdout
    return write(SEQUENCE, info, algorithm.whole, write(0x03, b"\x00", signature))


def common_name(subject):
    """The Name of "/CN=x", or of nothing."""
    return name(*([("2.5.4.3", subject.split("CN=")[1])] if "CN=" in subject else []))
