/* The EST door (RFC 7030, 8951): bytes in, bytes out, one call per HTTP request. */
#ifndef EST_DOOR_H
#define EST_DOOR_H

#include "est/guard.h"
#include "est/nonce.h"
#include "ra/note.h"
#include "ra/ra.h"

enum est_op {
    EST_CACERTS = 0,
    EST_SIMPLEENROLL,
    EST_SIMPLEREENROLL,
    EST_CSRATTRS,
    EST_FULLCMC,
    EST_SERVERKEYGEN,
    EST_RENEWAL_INFO,
    EST_OP_COUNT,
};

/* "/.well-known/est[/LABEL]/OPERATION" (RFC 7030 section 3.2.2), behind renewal-info one more
 * segment; path not yet decoded, without the
 * query. False if it is not of that form. label: "" if there is none; charset
 * [A-Za-z0-9._~-]{1,64}. */
#define EST_LABEL_MAX 64
bool est_path_parse(struct bytes path, enum est_op *op, char label[EST_LABEL_MAX + 1]) MUST_USE;
const char *est_op_name(enum est_op op);

struct est_call {
    const struct ra_settings *settings;
    const struct cfg_profile *profile;
    const char *label;
    enum est_op op;
    const char *method;         /* "GET", "POST", ... */
    struct bytes target;        /* the request's, as it was sent */
    struct bytes content_type;  /* header value, or empty */
    struct bytes authorization; /* header value, or empty; a secret */
    unsigned authorizations;    /* how many such headers there were */
    bool user_agent;            /* the client sent one: strongSwan does not, and wants one line */
    struct bytes body;
    /* What a CSR must hold to be bound to this connection: tls-unique (RFC 5929) or tls-exporter
     * (RFC 9266); empty if there is nothing that could bind. */
    struct bytes binding;
    bool tls;                  /* TLS ends here, not before us */
    struct cert *peer;         /* TLS client certificate (its key was proved), or NULL */
    struct cert *const *along; /* that the client sent with it; proves nothing */
    size_t along_count;
    struct est_guard *guard;   /* against guessing; or NULL */
    struct store *store;       /* for renewal-info; or NULL */
    struct est_nonces *nonces; /* NULL: Digest is not offered */
    const char *origin;        /* peer address */
    const char *id;            /* of the call: a refusal names it; or NULL */
};

/* What was accepted though it is not as RFC 8951 has it. */
enum {
    EST_LENIENT_DER = CFG_LENIENT_DER,
    EST_LENIENT_PEM = CFG_LENIENT_PEM,
    EST_LENIENT_NO_TYPE = CFG_LENIENT_NO_TYPE, /* no media type */
    EST_LENIENT_COUNT = CFG_LENIENT_COUNT
};
const char *est_lenient_name(enum cfg_lenient lenient); /* "der", "pem", "no-media-type" */

#define EST_DELIVERS_MORE 7
struct est_reply {
    bool lenient[EST_LENIENT_COUNT];
    int status;
    const char *content_type; /* static text, or NULL for no body */
    bool base64;              /* send Content-Transfer-Encoding: base64 */
    int retry_after;          /* seconds, 0: no header */
    int max_age;              /* seconds that it may be kept; 0: not at all */
    char *authenticate;       /* WWW-Authenticate, a line each, strongest first; or NULL; owned */
    const char *allow;        /* Allow, or NULL */
    struct buf body;
    char delivers[RA_ID_LEN + 1];
    char delivers_more[EST_DELIVERS_MORE][RA_ID_LEN + 1]; /* fullcmc can deliver several */
    size_t more_count;
    struct ra_note note;
};

/* Always fills *reply; the caller clears it. */
void est_door_handle(struct ra *ra, const struct est_call *call, struct est_reply *reply);
void est_reply_clear(struct est_reply *reply);

#endif
