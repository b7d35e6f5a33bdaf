#include "gateway/upstream/ndes.h"

#include "base/httpc.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_MAX ((size_t)64 << 10)
#define URL_MAX 1200
#define LIFE_MAX_MINUTES 525600

struct ndes {
    struct httpc *httpc;
    const char *url;
};

#define FOREIGN 0x7f

/* One character of the page as it is compared: one space for white space of any kind and length,
 * and FOREIGN, which no challenge holds, for what is not printable ASCII. */
static bool add_char(struct buf *text, unsigned c)
{
    bool space = c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0;
    if (space && text->len && text->ptr[text->len - 1] == ' ')
        return true;
    return buf_add_u8(text, space ? ' ' : c > ' ' && c <= '~' ? (uint8_t)c : FOREIGN);
}

/* NDES sends UTF-16LE, mostly without a byte order mark, whatever its META says. A page begins with
 * markup or white space, so with one octet that is no NUL and, in UTF-16LE, one that is. */
static bool decode(struct bytes body, struct buf *text, struct err *err)
{
    bool wide = false, ok = true;
    if (body.len > 2 && memcmp(body.ptr, "\xef\xbb\xbf", 3) == 0) {
        body = bytes_of(body.ptr + 3, body.len - 3);
    } else if (body.len > 1 && memcmp(body.ptr, "\xff\xfe", 2) == 0) {
        body = bytes_of(body.ptr + 2, body.len - 2);
        wide = true;
    } else {
        wide = body.len > 1 && body.ptr[0] && !body.ptr[1];
    }
    if (wide && body.len % 2)
        return err_set(err, ERR_UPSTREAM, "the page is UTF-16 that ends within a character");
    for (size_t i = 0; i < body.len && ok; i += wide ? 2 : 1) {
        unsigned c = body.ptr[i] | (wide ? (unsigned)body.ptr[i + 1] << 8 : 0);
        if (!c)
            return err_set(err, ERR_UPSTREAM, "the page is neither UTF-16LE nor UTF-8");
        ok = add_char(text, c);
    }
    return ok || err_set(err, ERR_UPSTREAM, "the page is too large");
}

/* What follows the first occurrence, or NULL. Case does not count. */
static const char *after(const char *text, const char *what)
{
    const char *at = strcasestr(text, what);
    return at ? at + strlen(what) : NULL;
}

/* The page's refusals are text on a page like any other, with status 200. */
static bool refuse(const char *text, struct err *err)
{
    if (after(text, "The password cache is full."))
        return err_set(err, ERR_UPSTREAM,
                       "the CA says: The password cache is full. Challenges that nobody has used "
                       "must expire first; PasswordMax of NDES says how many there may be");
    if (after(text, "You do not have sufficient permission"))
        return err_set(
            err, ERR_UPSTREAM,
            "the CA says: You do not have sufficient permission to enroll with SCEP. Our "
            "account there needs Enroll on the templates of NDES");
    return err_set(err, ERR_UPSTREAM,
                   "the page shows no challenge: it is not the one of mscep_admin, or in another "
                   "language than English");
}

/* The challenge stands alone in bold, and was there whole. */
static bool take_secret(const char *at, struct buf *secret, struct err *err)
{
    size_t len = 0;
    while (isalnum((unsigned char)at[len]) ||
           (at[len] && strchr("!#$%()*+,-./:=?@[]^_{|}~", at[len])))
        len++;
    if (len < NDES_SECRET_MIN || len > NDES_SECRET_MAX ||
        (strncasecmp(at + len, " </B>", 5) != 0 && strncasecmp(at + len, "</B>", 4) != 0))
        return err_set(err, ERR_UPSTREAM,
                       "what the page shows as the challenge is none: expected %d to %d characters",
                       NDES_SECRET_MIN, NDES_SECRET_MAX);
    return buf_set(secret, bytes_of(at, len)) ||
           err_set(err, ERR_LOCAL, "no memory for a challenge");
}

static int64_t take_life(const char *text)
{
    const char *at = after(text, "will expire within ");
    char *end = NULL;
    long minutes = at && isdigit((unsigned char)*at) ? strtol(at, &end, 10) : 0;
    bool whole = end && strncasecmp(end, " minute", 7) == 0;
    return whole && minutes > 0 && minutes <= LIFE_MAX_MINUTES ? minutes * 60 : 0;
}

static bool read_text(const char *text, struct buf *secret, int64_t *life, struct err *err)
{
    static const char anchor[] = "The enrollment challenge password is: <B>";
    const char *at = after(text, anchor);
    if (!at)
        return refuse(text, err);
    if (after(at, anchor))
        return err_set(err, ERR_UPSTREAM, "the page shows several challenges");
    if (after(at, "can be used multiple times"))
        return err_set(
            err, ERR_UPSTREAM,
            "the page shows one challenge for everybody (UseSinglePassword of NDES), which "
            "cannot be brokered: put it into challenge.fixed_file of the profile, with "
            "challenge: passthrough here");
    *life = take_life(at);
    return take_secret(at + (*at == ' '), secret, err);
}

bool ndes_page_read(struct bytes body, struct buf *secret, int64_t *life, struct err *err)
{
    struct buf text = BUF_SECRET(PAGE_MAX);
    secret->secret = true;
    *life = 0;
    bool ok = decode(body, &text, err) && read_text(buf_str(&text), secret, life, err);
    buf_free(&text);
    return ok;
}

bool ndes_new(const struct scep_admin *admin, struct ndes **ret, struct err *err)
{
    struct httpc_conf conf = {
        .trust = admin->trust.items,
        .trust_count = admin->trust.count,
        .auth = (enum httpc_auth)admin->auth,
        .user = admin->user,
        .password = (const char *)admin->password.ptr, /* a NUL is behind it */
    };
    struct ndes *ndes = mem_zalloc(sizeof *ndes);
    ndes->url = admin->url ? admin->url : admin->insecure_url;
    if (!httpc_new(&conf, &ndes->httpc, err)) {
        free(ndes);
        return false;
    }
    *ret = ndes;
    return true;
}

void ndes_free(struct ndes *ndes)
{
    if (ndes)
        httpc_free(ndes->httpc);
    free(ndes);
}

static bool fetch(struct ndes *ndes, const char *url, int64_t deadline, struct httpc_reply *http,
                  struct err *err)
{
    struct httpc_call call = {.method = "GET",
                              .url = url,
                              .secret = true,
                              .reply_max = 2 * PAGE_MAX,
                              .deadline = deadline};
    return httpc_run(ndes->httpc, &call, http, err) == HTTPC_DONE;
}

/* IIS sends whoever asks for the folder to the folder with a slash; it is asked there itself: where
 * else an answer points to, our password does not go. */
bool ndes_challenge(struct ndes *ndes, int64_t deadline, struct buf *secret, int64_t *life,
                    struct err *err)
{
    struct httpc_reply http = {0};
    struct buf folder = BUF_INIT(URL_MAX);
    size_t len = strlen(ndes->url);
    bool ok = fetch(ndes, ndes->url, deadline, &http, err);
    if (ok && http.status / 100 == 3 && ndes->url[len - 1] != '/' && !strchr(ndes->url, '?'))
        ok = (buf_add_fmt(&folder, "%s/", ndes->url) ||
              err_set(err, ERR_CONFIG, "the URL is too long")) &&
             fetch(ndes, buf_str(&folder), deadline, &http, err);
    if (ok && (http.status == 401 || http.status == 403))
        ok = err_set(err, ERR_UPSTREAM,
                     "%s answers %d: it does not let us in with the user and password of admin",
                     ndes->url, http.status);
    else if (ok && http.status != 200)
        ok = err_set(err, ERR_UPSTREAM, "%s answers %d", ndes->url, http.status);
    ok = ok && ndes_page_read(buf_bytes(&http.body), secret, life, err);
    httpc_reply_clear(&http);
    buf_free(&folder);
    return ok || err_within(err, "asking the CA for a challenge");
}
