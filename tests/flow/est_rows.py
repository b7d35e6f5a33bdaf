"""What the tables of EST rows share: a gateway's connections and enrollments."""
import base64
import os

from est_wire import Tls12, basic, make_csr, request
from gateway import FlowTest, run


class EstFlow(FlowTest):
    """The tree that init makes, unless a class configures it."""

    def connect(self, **options):
        return Tls12(self.gw, **options)

    def enroll(self, work, subject, **options):
        """A certificate of ours and its key, as paths."""
        csr = make_csr(work, subject, **options)
        with self.connect() as conn:
            status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
        self.assertEqual(status, 200, body)
        pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout
        path = os.path.join(work, "cert.pem")
        with open(path, "wb") as file:
            file.write(pem)
        return path, os.path.join(work, options.get("key", "key.pem"))

    def status(self, data, **options):
        with self.connect(**options) as conn:
            return conn.ask(data)[0]

    def assert_refused(self, csr, statuses=(400, 403), why=None):
        before = len(self.gw.certs())
        self.assertIn(self.status(request("simpleenroll", csr, basic(self.gw.challenge()))), statuses, why)
        self.assertEqual(len(self.gw.certs()), before, why)

    def issued(self, word):
        """The inventory's certificates with the word in their subject."""
        return [c for c in self.gw.certs() if word in c["subject"]]
