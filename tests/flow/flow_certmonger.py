"""SCEP with certmonger's helper, run without its daemon. The helper carries, checks and unwraps messages; the
daemon, which would make the request and open the envelope, is replaced by the project's codec and by openssl."""
import os
import unittest

from gateway import FlowTest, run, text

HELPER = "/usr/lib/certmonger/scep-submit"


class Certmonger(FlowTest):
    def test_capabilities(self):
        """The helper reads the capabilities (quirk 22)."""
        caps = text(HELPER, "-c", "-u", self.gw.scep_url).split()
        for word in ("AES", "POSTPKIOperation", "Renewal", "SCEPStandard", "SHA-256", "SHA-512"):
            self.assertIn(word, caps)
        self.assertNotIn("DES3", caps)

    def certificates(self, work):
        pem = text(HELPER, "-C", "-u", self.gw.scep_url)
        blocks = [b + "-----END CERTIFICATE-----\n" for b in pem.split("-----END CERTIFICATE-----")[:-1]]
        self.assertEqual(len(blocks), 3)
        for name, block in zip(("ra.pem", "ca.pem", "more.pem"), blocks):
            with open(os.path.join(work, name), "w", encoding="ascii") as file:
                file.write(block.lstrip())

    def test_certificates(self):
        """The helper finds the RA's certificate first, then root and issuing CA."""
        work = self.gw.work("cm-ca")
        self.certificates(work)

        def fingerprint(path):
            return text("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", path)

        self.assertEqual(fingerprint(os.path.join(work, "ra.pem")), fingerprint(self.gw.path("ra/ra.pem")))
        self.assertEqual({fingerprint(os.path.join(work, name)) for name in ("ca.pem", "more.pem")},
                         {fingerprint(self.gw.path("ca", name)) for name in ("issuing.pem", "root.pem")})

    def test_enroll(self):
        """The helper enrolls by GET, verifies the signed reply, and hands out an envelope that holds the certificate."""
        work = self.gw.work("cm-enroll")
        self.certificates(work)
        self.gw.scep_client("--subject", "/CN=monger-1", "--save-request", "request.der", "--key-out", "key.pem",
                            "--signer-out", "signer.pem", "--no-send", secret=self.gw.challenge(), cwd=work)
        run("openssl", "pkcs7", "-inform", "DER", "-in", "request.der", "-out", "request.pem", cwd=work)
        reply = run(HELPER, "-p", "-u", self.gw.scep_url, "-r", "ra.pem", "-N", "ca.pem", "-I", "more.pem", "request.pem",
                    cwd=work)
        with open(os.path.join(work, "envelope.pem"), "wb") as file:
            file.write(reply.stdout.replace(b"PKCS7", b"CMS"))
        run("openssl", "cms", "-decrypt", "-inform", "PEM", "-in", "envelope.pem", "-recip", "signer.pem", "-inkey",
            "key.pem", "-out", "bag.der", cwd=work)
        run("openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", "-out", "cert.pem", cwd=work)
        self.gw.verify(os.path.join(work, "cert.pem"))
        self.assertEqual(text("openssl", "x509", "-in", "cert.pem", "-noout", "-pubkey", cwd=work),
                         text("openssl", "pkey", "-in", "key.pem", "-pubout", cwd=work))


if __name__ == "__main__":
    unittest.main(verbosity=2)
