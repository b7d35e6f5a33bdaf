"""SCEP and those who attack what goes over the wire: transactions of others, messages that were recorded, paths, sizes. As in
flow_scep_attack.py each test is an incident of some server, or what would be one, against the real binary."""
import concurrent.futures
import re
import time
import unittest

import der
from forgeries import rsa_key
from gateway import run
from scep_wire import ENVELOPED, CertRep, Party, ScepTest, connect, post


class Transactions(ScepTest):
    """transactionIDs are no secrets, and messages can be recorded."""

    def setUp(self):
        self.victim, self.attacker = Party(self.gw, "victim"), Party(self.gw, "attacker")

    def poll(self, party, subject, txn):
        self.attacker.keep("names.der", der.write(der.SEQUENCE, der.common_name("/CN=x"), der.common_name(subject)))
        return party.forge(f"plain={self.attacker.path('names.der')}", "type=20", f"txn={txn}")

    def test_polled_by_another(self):
        """Who polls a victim's transactionID with a key of its own hears badCertId, as for one that does not exist (flaw 13)."""
        self.victim.csr("/CN=squat-1", self.gw.challenge())
        self.assertEqual(self.victim.forge("csr=csr.der", "txn=squat-1").outcome, "SUCCESS")
        before = self.counts()
        fake = self.attacker.self_sign("/CN=squat-1")
        self.assertTrue(fake)
        self.assertEqual(self.poll(self.attacker, "/CN=squat-1", "squat-1").outcome, "badCertId")
        self.assertEqual(self.poll(self.attacker, "/CN=squat-1", "no-such").outcome, "badCertId")
        self.assertEqual(self.poll(self.victim, "/CN=squat-1", "squat-1").outcome, "SUCCESS")
        self.assertEqual(self.counts(), before)

    def test_squatted(self):
        """An attacker who enrolls first under the transactionID that the victim will use does not stop the victim, learns nothing
        of it, and each polls its own (flaw 13)."""
        self.attacker.csr("/CN=squatter", self.gw.challenge())
        self.assertEqual(self.attacker.forge("csr=csr.der", "txn=squat-2").outcome, "SUCCESS")
        self.victim.csr("/CN=squat-2", self.gw.challenge())
        self.assertEqual(self.victim.forge("csr=csr.der", "txn=squat-2")["first"], "CN=squat-2")
        self.assertEqual(self.poll(self.victim, "/CN=squat-2", "squat-2")["first"], "CN=squat-2")
        self.assertEqual(self.poll(self.attacker, "/CN=squat-2", "squat-2")["first"], "CN=squatter")

    def test_squatted_with_nothing(self):
        """Refused requests under the victim's transactionID leave nothing behind that could stop or answer the victim (flaw 13)."""
        self.attacker.csr("/CN=squat-3", "NOTACHALLENGE2222222")
        for _ in range(5):
            self.assertEqual(self.attacker.forge("csr=csr.der", "txn=squat-3").outcome, "badRequest")
        self.assertEqual(self.poll(self.victim, "/CN=squat-3", "squat-3").outcome, "badCertId")
        self.victim.csr("/CN=squat-3", self.gw.challenge())
        self.assertEqual(self.victim.forge("csr=csr.der", "txn=squat-3").outcome, "SUCCESS")

    def test_replayed(self):
        """A message recorded and sent again, from another address, gets the same certificate enveloped to the same key; it is
        counted, and nothing is issued (flaw 12)."""
        self.victim.csr("/CN=replay-1", self.gw.challenge())
        message = self.victim.message("csr=csr.der", "txn=replay-1")
        first = post(self.gw, message)
        before = self.counts()
        repeated = self.gw.metric('^scepter_requests_total.*"PKCSReq".*issued')
        again = [post(self.gw, message, source=f"127.0.0.{n}") for n in (2, 3, 2)]
        for status, kind, _ in [first, *again]:
            self.assertEqual((status, kind), (200, "application/x-pki-message"))
        opened = self.victim.open(first[2])
        self.assertIn(b"BEGIN CERTIFICATE", opened)
        for reply in again:
            self.assertEqual(self.victim.open(reply[2]), opened)
            self.assertEqual(CertRep(reply[2]).envelope[1][0][1].whole, CertRep(first[2]).envelope[1][0][1].whole)
        self.assertEqual(self.counts(), before)
        self.assertEqual(self.gw.metric('^scepter_requests_total.*"PKCSReq".*issued'), repeated + 3)
        self.gw.log_line('client="127.0.0.2"', 'transaction="replay-1"', 'reason="repeated"')

    def test_replayed_refusal(self):
        """A refused message stays refused however often it comes; one recorded before a challenge was made is no use after (flaw
        12)."""
        secret = self.gw.challenge("--subject", "CN=replay-2")
        self.attacker.csr("/CN=replay-other", secret)
        message = self.attacker.message("csr=csr.der", "txn=replay-2")
        before = self.counts()
        for n in (1, 2, 3):
            self.assertEqual(CertRep(post(self.gw, message, source=f"127.0.0.{n}")[2]).outcome, "badRequest")
        self.assertEqual(self.counts(), before)

    def test_replayed_at_once(self):
        """Thirty copies of one message at the same moment, from thirty addresses, are one certificate: some bring it, and what
        comes while it is being made hears PENDING (flaw 12)."""
        self.victim.csr("/CN=replay-3", self.gw.challenge())
        message = self.victim.message("csr=csr.der", "txn=replay-3")
        before = self.counts()
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            replies = list(pool.map(lambda n: post(self.gw, message, source=f"127.0.1.{n}"), range(1, 31)))
        outcomes = {CertRep(body).outcome for _, _, body in replies}
        self.assertLessEqual(outcomes, {"SUCCESS", "PENDING"})
        granted = [body for _, _, body in replies if CertRep(body).outcome == "SUCCESS"]
        opened = {self.victim.open(body) for body in [*granted[:10], post(self.gw, message)[2]]}
        self.assertTrue(granted)
        self.assertEqual(len(opened), 1)
        after = self.counts()
        self.assertEqual((after[0] - before[0], after[1] - before[1]), (1, 1))


class Injection(ScepTest):
    """Paths and message= are looked up, never used."""

    TARGETS = (
        b"/scep/../../../../etc/passwd?operation=GetCACert", b"/scep/default/../../../etc/passwd?operation=GetCACert",
        b"/scep/default%2f..%2f..%2fca%2fissuing.key?operation=GetCACert", b"/scep/%00default?operation=GetCACert",
        b"/scep/default%00.pem?operation=GetCACert", b"/scep/default%0d%0aX-Evil:%201?operation=GetCACert",
        b"/scep/default'--?operation=GetCACert", b"/scep/default;id?operation=GetCACert", b"/scep/tenant?operation=GetCACert",
        b"/scep/CN=scepter%20RA,O=x?operation=GetCACert", b"/scep/defaul?operation=GetCACert", b"/scep/?operation=GetCACert",
    )
    MESSAGES = (
        b"../../../../etc/passwd", b"..%2f..%2fca%2fissuing.key", b"%00", b"default%00x",
        b"%0d%0aX-Evil:%201%0d%0a%0d%0aGET%20/",
        b"CN=Issuing%20CA,O=Example", b"'%20OR%20'1'='1", b"$(id)", b"%25%30%30", b"%", b"%zz", b"A" * 12000, b"%41" * 4000,
    )

    def ask(self, target):
        with connect(self.gw) as connection:
            connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := connection.recv(65536):
                data += piece
        return data

    def test_paths(self):
        """No path but a profile's reaches anything: 400 or 404, nothing of it in the headers, nothing of a file in the body (flaw
        14)."""
        for target in self.TARGETS:
            reply = self.ask(target)
            self.assertRegex(reply, rb"^HTTP/1\.1 40[04] ", target)
            self.assertNotRegex(reply, rb"(?i)evil|root:|PRIVATE|CERTIFICATE", target)

    def test_no_page_of_challenges(self):
        """There is no page that hands out challenges, over SCEP's listener or the others: NDES's is 404, whoever asks how (flaw
        10)."""
        paths = ("/certsrv/mscep_admin", "/certsrv/mscep_admin/", "/CertSrv/mscep_admin/", "/certsrv/mscep/mscep.dll",
                 "/certsrv/mscep_admin?operation=NDESGenerateChallenge&keyUsage=160")
        for path in paths:
            for header in (b"", b"Authorization: Negotiate TlRMTVNTUAABAAAA\r\n", b"Authorization: Basic YWRtaW46YWRtaW4=\r\n"):
                with connect(self.gw) as connection:
                    connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n" % (path.encode(), header))
                    reply = connection.recv(65536)
                self.assertRegex(reply, rb"^HTTP/1\.1 404 ", path)
                self.assertNotRegex(reply, rb"(?i)challenge|www-authenticate", path)
            self.assertEqual(self.gw.admin(path)[0], 404, path)

    def test_messages(self):
        """message= of an operation that has none means nothing, whatever stands in it: the same answer as without (flaw 14)."""
        for operation in (b"GetCACert", b"GetCACaps"):
            plain = self.ask(b"/scep/default?operation=" + operation).partition(b"\r\n\r\n")[2]
            for message in self.MESSAGES:
                reply = self.ask(b"/scep/default?operation=" + operation + b"&message=" + message)
                head, _, body = reply.partition(b"\r\n\r\n")
                self.assertRegex(head, rb"^HTTP/1\.1 200 ", message[:40])
                self.assertNotIn(b"Evil", head)
                self.assertEqual(body, plain, message[:40])

    def test_pki_operation(self):
        """The same as the message of a PKIOperation is refused in words that do not depend on it (flaw 14)."""
        for message in self.MESSAGES:
            reply = self.ask(b"/scep/default?operation=PKIOperation&message=" + message)
            self.assertRegex(reply, rb"^HTTP/1\.1 400 ", message[:40])
            self.assertTrue(reply.endswith(b"\r\n\r\nnot a SCEP message\n"), reply[-100:])

    def test_long(self):
        """64 KiB of message= is 414, and the server goes on (flaw 14)."""
        for fill in (b"A", b"%41", b"../"):
            reply = self.ask(b"/scep/default?operation=GetCACert&message=" + fill * (65536 // len(fill)))
            self.assertRegex(reply, rb"^(HTTP/1\.1 414 |$)")
        self.assertRegex(self.ask(b"/scep/default?operation=GetCACaps"), rb"^HTTP/1\.1 200 ")

    def test_transaction(self):
        """transactionIDs are octets: with paths, line ends, quotes and 256 octets they come back as they are, and each stays
        inside its log line; a longer one is no message."""
        party = Party(self.gw, "odd")
        for number, txn in enumerate(("../../x", "a\nlevel=error", "'; DROP TABLE request; --", '"', "%00", "Zm9v/+==",
                                      "x" * 256)):
            party.csr(f"/CN=odd-{number}", self.gw.challenge())
            answer = party.forge("csr=csr.der", f"txn={txn}", "reply=reply.der")
            self.assertEqual((answer.outcome, answer["txn"]), ("SUCCESS", "same"), txn)
        party.csr("/CN=odd-long", self.gw.challenge())
        self.assertEqual(party.forge("csr=csr.der", "txn=" + "x" * 257).outcome, "400")
        for line in self.gw.log().rpartition("\n")[0].splitlines():  # what is behind the last line end is being written
            self.assertTrue(re.fullmatch(r"time=\S+ level=(debug|info|warn|error) event=\S+[\x20-\x7e]*", line), line)


class Size(ScepTest):
    """Huge, deep and slow to compute. The body limit is out of the way, so that the parsers see what comes."""

    PATIENCE = 10  # seconds, with sanitizers on a busy machine

    @classmethod
    def configure(cls, gw):
        gw.edit(r"\Z", "limits: {body: 16MiB}\n")

    def setUp(self):
        self.party = Party(self.gw, "big")

    def assert_quick(self, status, body, statuses=(400, 413)):
        """Answered soon, and so is whoever comes after it."""
        start = time.monotonic()
        got, _, reply = post(self.gw, body)
        self.assertIn(got, statuses, (body[:20], reply[:80]))
        self.assertLess(time.monotonic() - start, self.PATIENCE, body[:20])
        self.assertIsNone(self.gw.process.poll())
        return reply

    @staticmethod
    def nested(depth):
        """So many SEQUENCEs, each in the other."""
        heads, length = [b"\x05\x00"], 2
        for _ in range(depth):
            heads.append(der.head(der.SEQUENCE, length))
            length += len(heads[-1])
        return b"".join(reversed(heads))

    def test_deep(self):
        """100,000 levels, of definite and of indefinite length, bare, as SignedData and as a constructed string: refused (flaw 15)."""
        signed = der.oid("1.2.840.113549.1.7.2")
        deep = self.nested(100000)
        open_ended = b"\x30\x80" * 100000
        for body in (deep, open_ended, open_ended + b"\x00\x00" * 100000, b"\x24\x80" * 100000, b"\xa0\x80" * 100000,
                     der.write(der.SEQUENCE, signed, der.write(0xa0, deep)), b"\x30\x80" + signed + b"\xa0\x80" + open_ended,
                     self.nested(33), self.nested(200), self.nested(30000)):
            self.assert_quick(400, body)

    def test_deep_inside(self):
        """The same within a signed message, as its envelope and as the CSR in it."""
        self.party.keep("deep.der", self.nested(20000))
        self.party.keep("open.der", b"\x30\x80" * 30000)
        before = self.counts()
        for name_ in ("deep.der", "open.der"):
            for words in ([f"plain={name_}", "bare=1"], [f"plain={name_}"]):
                start = time.monotonic()
                self.assertEqual(self.party.forge(*words).outcome, "badMessageCheck", words)
                self.assertLess(time.monotonic() - start, self.PATIENCE)
        self.assertEqual(self.counts(), before)

    def test_huge(self):
        """8 MB of one element, of a million small ones, and of lengths that lie: refused soon, without the memory for it (flaw 15)."""
        before = self.gw.resident()
        for body in (der.write(der.SEQUENCE, bytes(8 << 20)), der.write(der.SEQUENCE, b"\x05\x00" * (4 << 20)),
                     b"\x30\x84\x7f\xff\xff\xff" + bytes(8 << 20), b"\x30\x88" + b"\xff" * 8, b"\x30\x84\xff\xff\xff\xff",
                     b"\x30\x80" + b"\x04\x01x" * (2 << 20)):
            self.assert_quick(400, body)
        self.assertLess(self.gw.resident() - before, 300 << 10)

    def test_many(self):
        """Nine certificates in the bag, nine recipients of the envelope: more than are looked at (flaw 15)."""
        self.party.csr("/CN=many-1", self.gw.challenge())
        before = self.counts()
        self.assertEqual(self.party.forge("csr=csr.der", *["bag=cert.pem"] * 8).outcome, "badMessageCheck")
        self.assertEqual(self.party.forge("csr=csr.der", "recipients=9").outcome, "badMessageCheck")
        self.assertEqual(self.counts(), before)
        self.assertEqual(self.party.forge("csr=csr.der", "recipients=8").outcome, "SUCCESS")

    def test_cut_ciphertext(self):
        """Ciphertexts that are no whole blocks, or nothing, are refused before anything is decrypted (flaw 7)."""
        self.party.csr("/CN=blocks-1", self.gw.challenge())
        message = CertRep(self.party.message("csr=csr.der"))
        version, recipients, content = message.envelope.items
        kind, algorithm, sealed = content.items
        before = self.counts()
        for length in (0, 1, 15, 17, len(sealed.content) - 1):
            cut = der.write(der.SEQUENCE, kind.whole, algorithm.whole, der.write(0x80, sealed.content[:length]))
            data = der.write(der.SEQUENCE, version.whole, recipients.whole, cut)
            self.party.keep("cut.der", der.write(der.SEQUENCE, der.oid(ENVELOPED), der.write(0xa0, data)))
            answer = self.party.forge("plain=cut.der", "bare=1", f"txn=cut-{length}")
            self.assertEqual(answer.outcome, "badMessageCheck", length)
            self.gw.log_line(f'transaction="cut-{length}"')
        self.assertEqual(self.counts(), before)
        self.assertNotIn("cannot be decrypted", self.gw.log())

    def test_unbounded_chunks(self):
        """100 MB in chunks are refused when they pass the limit, not when they end (flaw 15)."""
        with connect(self.gw) as connection:
            connection.sendall(b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
            chunk, sent = b"100000\r\n" + bytes(1 << 20) + b"\r\n", 0
            try:
                while sent < 100:
                    connection.sendall(chunk)
                    sent += 1
            except OSError:
                pass
            self.assertLess(sent, 60)

    def test_16k_keys(self):
        """An RSA key of 16,384 bits, as the signer's, as the CSR's, or both, properly signed: refused, and soon (flaw 15)."""
        rsa_key(self.party.path("big.pem"), 16384)
        self.party.self_sign("/CN=big", key="big.pem", out="big-cert.pem")
        before = self.counts()
        for signer, key in (("cert.pem", "big.pem"), ("big-cert.pem", "big.pem"), ("big-cert.pem", "key.pem")):
            self.party.csr("/CN=big-1", self.gw.challenge(), key=key)
            message = self.party.message("csr=csr.der")
            if signer != "cert.pem":
                message = self.party.signed_by_hand(message, cert=signer, key="big.pem")
                run("openssl", "cms", "-verify", "-inform", "DER", "-noverify", "-out", "/dev/null", input=message)
            start = time.monotonic()
            self.assertEqual(CertRep(post(self.gw, message)[2]).outcome, "badMessageCheck", (signer, key))
            self.assertLess(time.monotonic() - start, self.PATIENCE)
        self.assertEqual(self.counts(), before)

    def test_slow_exponents(self):
        """A public exponent as long as its modulus makes verifying as slow as signing: refused, though rightly signed (flaw 15)."""
        rsa_key(self.party.path("slow.pem"), 3072, exponent_bits=3000)
        self.party.self_sign("/CN=slow", key="slow.pem", out="slow-cert.pem")
        self.party.csr("/CN=slow", self.gw.challenge(), key="slow.pem")
        message = self.party.signed_by_hand(self.party.message("csr=csr.der"), cert="slow-cert.pem", key="slow.pem")
        run("openssl", "cms", "-verify", "-inform", "DER", "-noverify", "-out", "/dev/null", input=message)
        before = self.counts()
        self.assertEqual(CertRep(post(self.gw, message)[2]).outcome, "badMessageCheck")
        self.assertEqual(self.counts(), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
