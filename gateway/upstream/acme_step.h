/* One request at an ACME CA, between its files: what is stored of it, and how its authorizations
 * become valid. Internal to acme*.c. */
#ifndef GATEWAY_UPSTREAM_ACME_STEP_H
#define GATEWAY_UPSTREAM_ACME_STEP_H

#include "gateway/upstream/acme_client.h"
#include "gateway/upstream/acme_http01.h"
#include "gateway/upstream/acme_options.h"

#include <pthread.h>

struct acme {
    struct relay relay; /* first */
    const struct acme_options *options;
    struct acme_client *client;
    pthread_mutex_t mutex;
    struct http01 *http01; /* NULL until it is needed */
};

/* What is known of an order: whether it was finalized by us. It says so before that is asked for.
 */
enum { ACME_OPEN = 0, ACME_TAKEN, ACME_ASKED /* perhaps */ };

/* What the cookie holds: an order at the CA, which issues nothing before it is finalized. */
struct ticket {
    int64_t created, expires;
    int64_t orders;                 /* this is the n-th */
    int64_t finalized;              /* ACME_OPEN... */
    uint8_t set[NAMES_SAN_MAX / 8]; /* dns-01: a bit for each SAN whose record is there */
    int64_t set_at;                 /* when the last of them was set */
    int64_t cleaning;               /* 1: they are being taken away */
    char url[ACME_URL_MAX];
};
bool acme_ticket_has_records(const struct ticket *ticket);
bool acme_ticket_write(const struct ticket *ticket, struct buf *out) MUST_USE;
bool acme_ticket_read(struct bytes cookie, struct ticket *ret) MUST_USE;

/* One poll. */
struct step {
    struct acme *acme;
    const struct up_order *order;
    struct ticket ticket;
    int64_t deadline;
    struct up_reply *reply;
    struct acme_answer answer; /* the order */
    int64_t wait; /* seconds until the next poll, if we know better than the CA; or 0 */
    int64_t half; /* after that, in clock_mono_ms() time, no command is begun */
    bool told;    /* reply->reason holds what an operator shall read meanwhile */
};

/* "pending", "valid" and so on of an order or an authorization; "nothing" if there is none. */
const char *acme_status(const struct acme_answer *answer);

/* Answers http-01 from now on, if that is configured. */
bool acme_listen(struct acme *acme, struct err *err) MUST_USE;

/* RFC 8555 section 7.5. UP_ISSUED: everything is authorized, or may become so. The ticket may have
 * changed. */
enum up_result acme_authorize(struct step *step);

/* Takes away the records of an order that needs them no more, as far as there is time. A failure is
 * told in reply->reason and holds nothing up. */
void acme_dns01_clean(struct step *step);

/* What the CA says of a record that it looks for; untrusted, or NULL. */
struct acme_record {
    const char *name, *token;
    bool wildcard;
};
/* Runs the command with action ("present", "cleanup"), the record's name and its value, without a
 * shell, until the step's deadline. False: it did not end with 0, or was not run. ERR_PEER: the CA
 * wants what nobody asked for. */
bool acme_dns01_run(const struct step *step, const char *action, const struct acme_record *record,
                    struct err *err) MUST_USE;

/* For tests. The value of the TXT record (section 8.4), base64url of SHA-256. */
bool acme_dns01_value(const char *token, const char *thumbprint, struct buf *out) MUST_USE;
/* The SAN that a record proves: what a CA makes us publish concerns what the device asked for.
 * False if the CSR has none of that name, or it could be anything else than a host's. */
bool acme_dns01_san(const struct names *names, const struct acme_record *record,
                    size_t *ret) MUST_USE;

#endif
