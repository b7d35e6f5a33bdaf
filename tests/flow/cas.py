"""Every kind of upstream CA that the tests have, by the name that tables give it."""
from flow_upstream_acme import Pebble
from flow_upstream_cmp import CmpCa
from flow_upstream_ejbca import EjbcaCa
from flow_upstream_est import EstCa
from flow_upstream_exec import LocalSubmit
from flow_upstream_scep import SafeGateway, ScepServer, SecondGateway
from flow_upstream_stepca import StepCa
from flow_upstream_vault import VaultCa


class Local:
    """The CA whose key the gateway holds."""

    def configure(self, gw, more=""):
        self.gw = gw
        self.root, self.chain = gw.root, gw.path("ca/issuing.pem")

    def issued(self, name):
        return sum(c["subject"] == f"CN={name}" for c in self.gw.certs())

    def close(self):
        pass


CAS = {
    "local": Local,
    "est": EstCa,
    "scep (scepserver)": ScepServer,
    "scep": SecondGateway,
    "scep, repeats: safe": SafeGateway,
    "cmp": CmpCa,
    "acme": Pebble,
    "exec": LocalSubmit,
    "vault": VaultCa,
    "ejbca": EjbcaCa,
    "stepca": StepCa,
}
