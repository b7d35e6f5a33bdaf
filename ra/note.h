/* What a door says of one call, for the log line and the counters. */
#ifndef RA_NOTE_H
#define RA_NOTE_H

#include "ra/request.h"

/* No secrets; text is escaped by the log. */
struct ra_note {
    const char *operation;  /* static text: "PKCSReq", "GetCACaps", "simpleenroll", ... or "-" */
    const char *outcome;    /* static text: "issued", "pending", "refused", "answered", "error" */
    const char *reason;     /* static text: ra_reason_name or a door's own word; or NULL */
    const char *legacy;     /* static text: old algorithms that were used, "sha1 des3"; or NULL */
    const char *csr_digest; /* static text: the old digest that a CSR was signed over; or NULL */
    const char *family;     /* static text: what kind of client it is; or NULL */
    char call_id[17];       /* hex; one for each HTTP request, also where nothing is stored */
    char request_id[RA_ID_LEN + 1];
    char txn[49]; /* the first octets of the transactionID up to a NUL, or "" */
    char subject[256];
    char detail[RA_DETAIL_MAX + 64]; /* for the operator */
    bool fault; /* something of ours failed (store, connector), not the device's */
};

/* outcome and reason are static text; the rest goes to detail. */
void ra_note_set(struct ra_note *note, const char *outcome, const char *reason, const char *fmt,
                 ...) PRINTF_LIKE(4, 5);

#endif
