"""A double of EJBCA's REST interface, after the sources of Keyfactor/ejbca-ce (CertificateRestResource.java,
ExceptionHandler.java, ExceptionInfoRestResponse.java, SearchCertificatesRestResponse.java): v1/ca,
v1/certificate/pkcs10enroll, v1/certificate/ID/finalize, v1/certificate/search, v1/certificate/ISSUER/SERIAL/revoke. It is
not EJBCA, and never ran beside it."""
import base64
import json
import re
import ssl
import urllib.parse

from doubles import Double, Refusal, is_csr

API = "/ejbca/ejbca-rest-api/v1/"
REASONS = ("UNSPECIFIED", "KEY_COMPROMISE", "CA_COMPROMISE", "AFFILIATION_CHANGED", "SUPERSEDED", "CESSATION_OF_OPERATION",
           "CERTIFICATE_HOLD", "REMOVE_FROM_CRL", "PRIVILEGES_WITHDRAWN", "AA_COMPROMISE")


def fault(status, text):
    return Refusal(status, {"error_code": status, "error_message": text})


class Ejbca(Double):
    def __init__(self, port, ca):
        self.users = {}  # username -> certificate in PEM
        self.waiting = {}  # number -> the request that waits for an approval
        self.approval = False  # or True, or "approved": then requests are at once
        self.enrolls = []  # usernames, also of those that were refused
        self.revoked = []
        super().__init__(port, ca)

    def answer(self, method, path, headers, body):
        if not path.startswith(API):
            raise fault(404, "no such resource")
        path, _, query = path[len(API):].partition("?")
        if method == "GET" and path == "ca":
            return 200, {"certificate_authorities": [{"id": 1, "name": "PlantCA", "subject_dn": "CN=issuing,O=Double",
                                                      "issuer_dn": "CN=root,O=Double"}]}
        if method == "PUT":
            return self.revoke(path, urllib.parse.parse_qs(query))
        if method != "POST" or headers.get("Content-Type") != "application/json":
            raise fault(415, "HTTP 415 Unsupported Media Type")
        body = json.loads(body)
        if path == "certificate/search":
            return 200, self.search(body)
        if path == "certificate/pkcs10enroll":
            return self.enroll(body)
        match = re.fullmatch(r"certificate/(\d+)/finalize", path)
        if match:
            return self.finalize(int(match[1]), body)
        raise fault(404, "no such resource")

    def enroll(self, body):
        names = {"certificate_profile_name": "Device", "end_entity_profile_name": "Devices",
                 "certificate_authority_name": "PlantCA"}
        for name, value in names.items():
            if body.get(name) != value:
                raise fault(400, f"{name} does not exist")
        user = body.get("username")
        self.enrolls.append(user)
        if not user or not body.get("password") or not is_csr(body.get("certificate_request", "")):
            raise fault(400, "Invalid request")
        if user in self.users or any(user == w["user"] for w in self.waiting.values()):
            raise fault(400, f"End entity {user} already exists")  # EndEntityExistsException
        if self.approval:
            number = 7000 + len(self.waiting)
            self.waiting[number] = {"user": user, "csr": body["certificate_request"], "password": body["password"],
                                    "state": "approved" if self.approval == "approved" else "waiting"}
            raise self.wait(number)
        self.users[user] = self.ca.issue(body["certificate_request"])
        return self.answer_cert(user, body.get("include_chain"))

    def answer_cert(self, user, with_chain):
        chain = [self.der(self.ca.text("issuing.pem")), self.der(self.ca.text("root.pem"))]
        return 201, {"certificate": self.der(self.users[user]), "serial_number": self.serial(self.users[user]),
                     "response_format": "DER", "certificate_chain": chain if with_chain else []}

    @staticmethod
    def wait(number):
        """WaitingForApprovalException"""
        return Refusal(202, {"status_code": 202, "info_message": f"Request with Id '{number}' is still waiting for approval",
                             "link": f"https://elsewhere.example.com{API}certificate/{number}/finalize"})

    def decide(self, state):
        """An administrator does; a certificate is issued only when the request is finalized."""
        for request in self.waiting.values():
            if request["state"] == "waiting":
                request["state"] = state

    def finalize(self, number, body):
        request = self.waiting.get(number)
        if not request:
            raise fault(400, f"Could not find request with Id '{number}'")
        if body.get("response_format") not in ("DER", "PEM"):
            raise fault(400, "Invalid parameter: response_format")
        if request["state"] == "waiting":
            raise self.wait(number)
        if request["state"] == "rejected":
            raise fault(400, f"Request with Id '{number}' has been rejected")
        if request["user"] in self.users:
            raise fault(400, f"Enrollment with Id '{number}' has already been finalized")
        if body.get("password") != request["password"]:
            raise fault(403, "wrong password")
        self.users[request["user"]] = self.ca.issue(request["csr"])
        return self.answer_cert(request["user"], False)

    @staticmethod
    def der(pem):
        return base64.b64encode(ssl.PEM_cert_to_DER_cert(pem)).decode()

    def serial(self, pem):
        return self.ca.ask(pem, "-serial").split("=")[1]

    def search(self, body):
        limit, criteria = body.get("max_number_of_results"), body.get("criteria")
        if not isinstance(limit, int) or limit < 1 or not criteria or set(criteria[0]) != {"property", "value", "operation"}:
            raise fault(400, "Malformed request.")
        if criteria[0]["property"] != "QUERY" or criteria[0]["operation"] != "EQUAL":
            raise fault(400, "Malformed request.")
        found = [pem for user, pem in self.users.items() if user == criteria[0]["value"]]
        # A byte[] of base64 text, which JSON encodes once more: SearchCertificatesRestResponse.
        return {"certificates": [{"certificate": base64.b64encode(self.der(pem).encode()).decode(), "response_format": "DER",
                                  "serial_number": self.serial(pem)} for pem in found], "more_results": False}

    def revoke(self, path, query):
        match = re.fullmatch(r"certificate/([^/]+)/([0-9a-fA-F]+)/revoke", path)
        if not match or query.get("reason", [""])[0] not in REASONS:
            raise fault(400, "Invalid revocation reason")
        if urllib.parse.unquote(match[1]) != "CN=issuing,O=Double":
            raise fault(404, "CA doesn't exist")
        self.revoked.append((match[2].upper(), query["reason"][0]))
        return 200, {"issuer_dn": "CN=issuing,O=Double", "serial_number": match[2], "revoked": True,
                     "revocation_reason": query["reason"][0], "message": "Successfully revoked"}
