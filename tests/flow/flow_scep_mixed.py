"""Devices with old and with new algorithms at the same time: nobody's choice becomes another's."""
import concurrent.futures
import unittest

from scep_wire import CertRep, Party, ScepTest, post

ROUNDS = 6
OIDS = {"AES-128-CBC": "2.16.840.1.101.3.4.1.2", "AES-192-CBC": "2.16.840.1.101.3.4.1.22",
        "AES-256-CBC": "2.16.840.1.101.3.4.1.42", "DES-EDE3-CBC": "1.2.840.113549.3.7", "SHA1": "1.3.14.3.2.26",
        "SHA256": "2.16.840.1.101.3.4.2.1", "SHA384": "2.16.840.1.101.3.4.2.2", "SHA512": "2.16.840.1.101.3.4.2.3"}


class Mixed(ScepTest):
    @classmethod
    def configure(cls, gw):
        gw.edit(r"(scep: \{paths: .*ra: \[main\])\}", r"\1, legacy: des3-sha1}")

    def test_algorithms_at_once(self):
        """Every cipher with every digest, all at once and again and again: each reply has the algorithms of its request, and its
        own recipient (flaw 16)."""
        devices = [Party(self.gw, f"mixed-{number}") for number in range(4)]
        wanted = []
        ciphers, digests = [n for n in OIDS if "CBC" in n], [n for n in OIDS if "SHA" in n]
        for device, cipher in zip(devices, ciphers):
            device.csr(device.subject, self.gw.challenge())
            for digest in digests:
                message = device.message("csr=csr.der", f"cipher={cipher}", f"digest={digest}", f"txn={cipher}-{digest}")
                wanted.append((message, OIDS[cipher], OIDS[digest], f"{cipher}-{digest}", CertRep(message).signers[0][1].whole))

        def ask(row):
            status, _, body = post(self.gw, row[0])
            reply = CertRep(body)
            envelope = reply.envelope
            return (status, reply.outcome, envelope[2][1][0].oid, reply.signers[0][2][0].oid,
                    reply.value("2.16.840.1.113733.1.9.7").decode(), envelope[1][0][1].whole)

        for device in devices:  # one order for each, so that the rest is answered from it
            self.assertEqual(device.forge("csr=csr.der", "txn=first").outcome, "SUCCESS")
        with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool:
            for _ in range(ROUNDS):
                for row, got in zip(wanted, pool.map(ask, wanted)):
                    self.assertEqual(got, (200, "SUCCESS", *row[1:]))
        self.assertEqual(len(self.gw.certs()), len(devices))


if __name__ == "__main__":
    unittest.main(verbosity=2)
