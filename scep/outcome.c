#include "scep/outcome.h"

static const enum scep_fail fails[RA_REASON_COUNT] = {
    [RA_OK] = SCEP_BAD_REQUEST,
    [RA_NO_EVIDENCE] = SCEP_BAD_REQUEST,
    [RA_BAD_CHALLENGE] = SCEP_BAD_REQUEST,
    [RA_BAD_RENEWAL] = SCEP_BAD_REQUEST,
    [RA_NAMES_CHANGED] = SCEP_BAD_REQUEST,
    [RA_BAD_KEY] = SCEP_BAD_REQUEST,
    [RA_BAD_NAMES] = SCEP_BAD_REQUEST,
    [RA_BAD_EXTENSION] = SCEP_BAD_REQUEST,
    [RA_NO_ROUTE] = SCEP_BAD_REQUEST,
    [RA_UNKNOWN_TXN] = SCEP_BAD_CERT_ID,
    [RA_UPSTREAM_REFUSED] = SCEP_BAD_REQUEST,
    [RA_DENIED] = SCEP_BAD_REQUEST,
    [RA_UNKNOWN_CERT] = SCEP_BAD_CERT_ID,
    [RA_OVER_QUOTA] = SCEP_BAD_REQUEST,
    [RA_KEY_REUSED] = SCEP_BAD_REQUEST,
};

static const char *const fail_names[] = {
    [SCEP_BAD_ALG] = "badAlg",         [SCEP_BAD_MESSAGE_CHECK] = "badMessageCheck",
    [SCEP_BAD_REQUEST] = "badRequest", [SCEP_BAD_TIME] = "badTime",
    [SCEP_BAD_CERT_ID] = "badCertId",
};

enum scep_fail scep_outcome_fail(enum ra_reason reason)
{
    return (unsigned)reason < RA_REASON_COUNT ? fails[reason] : SCEP_BAD_REQUEST;
}

const char *scep_fail_name(enum scep_fail fail)
{
    return (unsigned)fail <= SCEP_BAD_CERT_ID ? fail_names[fail] : "unknown";
}

const char *scep_type_name(int type)
{
    switch (type) {
    case SCEP_RENEWALREQ:
        return "RenewalReq";
    case SCEP_PKCSREQ:
        return "PKCSReq";
    case SCEP_CERTPOLL:
        return "CertPoll";
    case SCEP_GETCERT:
        return "GetCert";
    case SCEP_GETCRL:
        return "GetCRL";
    default:
        return "other";
    }
}
