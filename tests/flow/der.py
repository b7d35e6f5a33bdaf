"""Just enough DER to write what openssl's command line does not."""
import os

from gateway import run

SEQUENCE, SET, CONTEXT = 0x30, 0x31, 0xA0


def tlv(tag, *parts):
    content = b"".join(parts)
    length = len(content)
    size = b"" if length < 128 else length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, length if not size else 0x80 | len(size)]) + size + content


def elements(data):
    """[(tag, content, whole)] of definite-length DER."""
    found, at = [], 0
    while at < len(data):
        start, tag, length = at, data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at:at + size], "big")
            at += size
        found.append((tag, data[at:at + length], data[start:at + length]))
        at += length
    return found


def oid(dotted):
    numbers = [int(n) for n in dotted.split(".")]
    numbers = [numbers[0] * 40 + numbers[1]] + numbers[2:]
    out = b""
    for number in numbers:
        part = [number & 0x7F]
        while number := number >> 7:
            part.append(0x80 | number & 0x7F)
        out += bytes(reversed(part))
    return tlv(0x06, out)


def name(*attributes, string=0x0C):
    """A Name of ("2.5.4.3", "value") in sets of their own."""
    return tlv(SEQUENCE, *(tlv(SET, tlv(SEQUENCE, oid(kind), tlv(string, value.encode()))) for kind, value in attributes))


def dns_names(*names):
    return tlv(SEQUENCE, *(tlv(0x82, n.encode()) for n in names))


def change_subject_name(*parts):
    return tlv(SEQUENCE, oid("1.3.6.1.5.5.7.7.36"), tlv(SET, tlv(SEQUENCE, *parts)))


def resign(work, csr, *, key="key.pem", subject=None, spki=None, attributes=()):
    """The CSR with another subject or key, or with more attributes, signed anew by the EC or RSA key (SHA-256)."""
    info, algorithm, _ = elements(elements(csr)[0][1])
    version, old_subject, old_spki, *rest = elements(info[1])
    held = [whole for _, _, whole in elements(rest[0][1])] if rest else []
    info = tlv(SEQUENCE, version[2], subject or old_subject[2], spki or old_spki[2],
               tlv(CONTEXT, *sorted(held + list(attributes))))
    signature = run("openssl", "dgst", "-sha256", "-sign", os.path.join(work, key), input=info).stdout
    return tlv(SEQUENCE, info, algorithm[2], tlv(0x03, b"\x00", signature))
