"""EJBCA's REST interface as the upstream: a double of it, with a proxy between the two that has bad days."""
import sqlite3
import time
import unittest

import faults
from double_ejbca import Ejbca
from doubles import DoubleCa, DoubleTest
from faults import answers
from upstream import use_upstream


class EjbcaCa(DoubleCa):
    """The double, and in front of it the proxy, which asks for our certificate."""

    def __init__(self):
        super().__init__("pkcs10enroll")
        self.know_clients()

    def make_double(self, port):
        return Ejbca(port, self.ca)

    def configure(self, gw, more=""):
        use_upstream(gw, self.root, f"""
    type: ejbca
    url: https://127.0.0.1:{self.port}
    trust: [{self.root}]
    ca: PlantCA
    certificate_profile: Device
    end_entity_profile: Devices
    client: {{certificate: {self.ca.path('client.pem')}, key: {self.ca.path('client.key')}}}
    chain: [{self.chain}, {self.root}]
{more}""")


class UpstreamEjbca(DoubleTest):
    make_ca = EjbcaCa

    def check_once(self, name):
        """Searches aside, EJBCA was asked once, and issued once."""
        self.assertEqual(self.ca.double.enrolls.count(f"scepter-{self.request(name)['id']}"), 1)
        self.assertEqual(self.ca.issued(name), 1)

    def test_enroll(self):
        """A device gets a certificate of EJBCA's; the username is the request's."""
        self.enroll("plain")
        self.verify("plain")
        self.check_once("plain")
        self.assertIn(f"scepter-{self.request('plain')['id']}", self.ca.double.users)

    def test_later(self):
        """An RA that has no right to: the device gets its certificate by polling."""
        self.ca.proxy.reset(answers(403))
        self.enroll("barred", code=3)
        self.wait_state("barred", "issued")
        self.enroll("barred", "--poll")
        self.check_once("barred")

    def test_refused(self):
        """A request that EJBCA refuses, and for which it has no certificate, is refused."""
        self.ca.proxy.reset(answers(400))
        self.enroll("unwanted", code=2)
        self.assertEqual(self.state("unwanted"), "refused")

    def test_never_arrived(self):
        """A request that did not arrive stays suspect; sent again by an operator it issues once."""
        self.ca.proxy.reset(faults.REFUSE)
        self.enroll("unread", code=3)
        self.wait_state("unread", "suspect")
        time.sleep(7)  # it searches meanwhile
        self.assertEqual(self.state("unread"), "suspect")
        self.assertNotIn(f"scepter-{self.request('unread')['id']}", self.ca.double.enrolls)
        self.ca.proxy.reset()
        self.gw.cli("request", "approve", self.request("unread")["id"], "--reason", "EJBCA has none")
        self.wait_state("unread", "issued")
        self.check_once("unread")

    def test_repeat(self):
        """A repeat that EJBCA refuses, since it has issued, gets what it issued."""
        double, search = self.ca.double, self.ca.double.search

        def blind(body):
            """Finds nothing until the repeat has come."""
            if double.enrolls.count(body["criteria"][0]["value"]) < 2:
                return {"certificates": [], "more_results": False}
            return search(body)

        double.search = blind
        self.addCleanup(setattr, double, "search", search)
        self.ca.proxy.reset(faults.LOSE)
        self.enroll("repeat", code=3)
        self.wait_state("repeat", "suspect")
        self.gw.cli("request", "approve", self.request("repeat")["id"], "--reason", "by mistake")
        self.wait_state("repeat", "issued")
        self.assertEqual(self.ca.issued("repeat"), 1)

    def test_kill_while_asking(self):
        """kill -9 while EJBCA is asked: after the restart the certificate is found."""
        self.kill_while_asking("killed")
        self.wait_state("killed", "issued", 60)
        self.enroll("killed", "--poll")
        self.verify("killed")
        self.check_once("killed")

    def wait_for_approval(self, name):
        self.ca.double.approval = True
        self.enroll(name, code=3)
        self.assertEqual(self.state(name), "waiting")
        self.assertIn("wants an approval of request 7", self.request(name)["reason"])
        self.ca.double.approval = False

    def test_approval(self):
        """A request that waits for an approval at EJBCA is finalized and issued after it, also over a restart; its password
        is in no log."""
        self.wait_for_approval("patient")
        self.gw.stop(9)
        self.gw.start()
        time.sleep(3)
        self.assertEqual(self.state("patient"), "waiting")
        self.assertIn("wants an approval of request 7", self.request("patient")["reason"])
        self.gw.secrets.extend(request["password"] for request in self.ca.double.waiting.values())
        self.ca.double.decide("approved")
        self.wait_state("patient", "issued", 60)
        self.enroll("patient", "--poll")
        self.check_once("patient")

    def test_approval_denied(self):
        """A request that EJBCA's administrators reject is refused, and the operator reads it."""
        self.wait_for_approval("unloved")
        self.ca.double.decide("rejected")
        self.wait_state("unloved", "refused", 60)
        self.assertIn("has been rejected", self.request("unloved")["reason"])

    def approve_and_lose(self):
        """The answer to the next finalizing is lost, which is the first after the approval."""
        double, finalize = self.ca.double, self.ca.double.finalize
        self.ca.proxy.only = "finalize"
        self.addCleanup(setattr, self.ca.proxy, "only", "pkcs10enroll")

        def approved(number, body):
            if not self.ca.proxy.plan:
                double.decide("approved")
            return finalize(number, body)

        self.ca.proxy.reset(faults.LOSE)
        double.finalize = approved
        self.addCleanup(setattr, double, "finalize", finalize)

    def test_finalize_lost(self):
        """When the answer to finalizing is lost the certificate is found by the username; it is issued once."""
        self.wait_for_approval("twice-approved")
        self.approve_and_lose()
        self.wait_state("twice-approved", "issued", 60)
        self.check_once("twice-approved")

    def test_finalize_lost_late(self):
        """Also where the search shows it late: then it is not finalized again, and its password is forgotten."""
        double = self.ca.double
        self.wait_for_approval("late")
        search, double.search = double.search, lambda body: {"certificates": [], "more_results": False}
        self.addCleanup(setattr, double, "search", search)
        password = next(w["password"] for w in double.waiting.values() if w["user"].endswith(self.request("late")["id"]))
        self.assertTrue(self.at_rest(password))
        self.approve_and_lose()
        self.wait_for(lambda: not self.at_rest(password), 60)
        self.assertEqual(self.state("late"), "waiting")
        double.search = search
        self.wait_state("late", "issued", 60)
        self.check_once("late")

    def at_rest(self, secret):
        with sqlite3.connect(f"file:{self.gw.path('state/scepter.db')}?mode=ro", uri=True) as store:
            return store.execute("SELECT count(*) FROM request WHERE instr(cookie, ?)", (secret.encode(),)).fetchone()[0]


if __name__ == "__main__":
    unittest.main(verbosity=2)
