#include "gateway/front.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/net.h"
#include "base/text.h"
#include "est/door.h"
#include "gateway/admin.h"
#include "gateway/edge.h"
#include "gateway/frame.h"
#include "gateway/route.h"
#include "scep/door.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct front {
    struct ra *ra;
    struct metrics *metrics;
    struct est_guard *guard;
    struct rate_table *rates;
    struct est_nonces *nonces;
    pthread_mutex_t mutex; /* guards what follows, the pointers */
    struct ra_settings *settings;
    const struct http_server *watched;
};

/* What `done` needs to know of a request; one worker handles one request at a time. */
static _Thread_local struct {
    const char *door;
    char profile[65];
    struct ra_note note;
    char delivers[RA_ID_LEN + 1];
    char delivers_more[EST_DELIVERS_MORE][RA_ID_LEN + 1];
    size_t more_count;
    char id[17];
    int64_t started;
} current;

struct front *front_new(struct ra *ra, struct metrics *metrics, struct ra_settings *settings)
{
    struct front *front = mem_zalloc(sizeof *front);
    front->ra = ra;
    front->metrics = metrics;
    front->settings = settings;
    front->guard = est_guard_new();
    front->rates = rate_table_new();
    front->nonces = est_nonces_new();
    pthread_mutex_init(&front->mutex, NULL);
    return front;
}

void front_free(struct front *front)
{
    if (!front)
        return;
    ra_settings_free(front->settings);
    est_guard_free(front->guard);
    rate_table_free(front->rates);
    est_nonces_free(front->nonces);
    pthread_mutex_destroy(&front->mutex);
    free(front);
}

struct ra_settings *front_settings(struct front *front)
{
    pthread_mutex_lock(&front->mutex);
    struct ra_settings *settings = ra_settings_ref(front->settings);
    pthread_mutex_unlock(&front->mutex);
    return settings;
}

void front_reload(struct front *front, struct ra_settings *settings)
{
    pthread_mutex_lock(&front->mutex);
    struct ra_settings *old = front->settings;
    front->settings = settings;
    pthread_mutex_unlock(&front->mutex);
    ra_settings_free(old);
}

void front_watch(struct front *front, const struct http_server *server)
{
    pthread_mutex_lock(&front->mutex);
    front->watched = server;
    pthread_mutex_unlock(&front->mutex);
}

static void begin(const char *door)
{
    memset(&current, 0, sizeof current);
    uint8_t id[(sizeof current.id - 1) / 2];
    current.door = door;
    current.started = clock_mono_ms();
    if (RAND_bytes(id, sizeof id) == 1)
        text_hex(bytes_of(id, sizeof id), current.id);
}

/* Before the reply is sent: who has it sees it counted. */
static void count(struct front *front)
{
    metrics_count(front->metrics, current.door, &current.note, clock_mono_ms() - current.started);
}

static void answer_plain(struct http_response *response, int status, const char *text)
{
    response->status = status;
    response->content_type = "text/plain";
    if (!buf_add_str(&response->body, text))
        buf_clear(&response->body);
}

static void answer_nobody(struct http_response *response, const char *detail)
{
    current.note = (struct ra_note){.operation = "-", .outcome = "refused", .reason = "no-profile"};
    memcpy(current.note.detail, detail, strlen(detail) + 1);
    answer_plain(response, 404, "not found\n");
}

/* RFC 8894 section 4.1; HEAD is GET without the body. EST's door knows which method fits. */
static bool scep_method_fits(const struct http_request *request, struct http_response *response)
{
    if (strcmp(request->method, FRAME_METHOD_OTHER) != 0)
        return true;
    current.note = (struct ra_note){.operation = "-", .outcome = "refused", .reason = "bad-method"};
    answer_plain(response, 405, "refused: bad-method\n");
    response->allow = "GET, HEAD, POST";
    return false;
}

static bool answer_limited(struct http_response *response, int status, int64_t milliseconds)
{
    bool device = status == 429;
    current.note = (struct ra_note){.operation = "-",
                                    .outcome = "refused",
                                    .reason = device ? "too-many-requests" : "profile-busy"};
    snprintf(current.note.detail, sizeof current.note.detail, "%s passed its rate",
             device ? "the address has" : "the profile has");
    answer_plain(response, status, "try again later\n");
    response->retry_after = (int)((milliseconds + 999) / 1000);
    return false;
}

/* Before anything is decoded: whether the address, and then the profile, may have another request.
 * A peer on a unix socket without an address is an edge, and has no rate. */
static bool within_rates(struct front *front, const struct cfg *cfg,
                         const struct cfg_profile *profile, const struct http_request *request,
                         struct http_response *response)
{
    struct net_addr address;
    uint64_t group = net_addr_parse(request->peer, &address) ? net_addr_group(&address) : 0;
    int64_t now = clock_mono_ms(), wait = 0;
    char key[80];
    snprintf(key, sizeof key, "address %llx", (unsigned long long)group);
    if (group)
        wait = rate_table_take(front->rates, bytes_str(key), &cfg->limits.rate_per_address, now);
    if (wait)
        return answer_limited(response, 429, wait);
    snprintf(key, sizeof key, "profile %s", profile->name);
    wait = rate_table_take(front->rates, bytes_str(key), &profile->rate, now);
    return !wait || answer_limited(response, 503, wait);
}

static void scep_handle(void *arg, const struct http_request *request,
                        struct http_response *response)
{
    struct front *front = arg;
    struct ra_settings *settings = front_settings(front);
    const struct cfg_profile *profile = route_scep(settings->cfg, request->path);
    begin("scep");
    if (!profile) {
        answer_nobody(response, "no profile has this SCEP path");
    } else if (within_rates(front, settings->cfg, profile, request, response) &&
               scep_method_fits(request, response)) {
        struct scep_reply *reply = mem_zalloc(sizeof *reply);
        struct scep_call call = {
            .settings = settings,
            .profile = profile,
            .query = request->query,
            .post = strcmp(request->method, "POST") == 0,
            .body = request->body,
            .origin = request->peer,
            .user_agent = http_header_get(request->headers, "User-Agent", NULL),
            .id = current.id,
        };
        memcpy(current.profile, profile->name, strnlen(profile->name, 64));
        scep_door_handle(front->ra, &call, reply);
        response->status = reply->status;
        response->content_type = reply->content_type;
        response->body = reply->body;
        reply->body = (struct buf){0}; /* handed over */
        current.note = reply->note;
        memcpy(current.delivers, reply->delivers, sizeof current.delivers);
        scep_reply_clear(reply);
        free(reply);
    }
    count(front);
    ra_settings_free(settings);
}

static void est_answer(struct est_reply *reply, struct http_response *response)
{
    response->status = reply->status;
    response->content_type = reply->content_type;
    response->base64 = reply->base64;
    response->retry_after = reply->retry_after;
    if (reply->authenticate && !buf_add_str(&response->authenticate, reply->authenticate))
        buf_clear(&response->authenticate);
    response->allow = reply->allow;
    response->body = reply->body;
    response->max_age = reply->max_age;
    response->no_store = true;
    reply->body = (struct buf){0}; /* handed over */
}

static void est_handle(void *arg, const struct http_request *request,
                       struct http_response *response)
{
    struct front *front = arg;
    struct ra_settings *settings = front_settings(front);
    char label[EST_LABEL_MAX + 1];
    enum est_op op;
    const struct cfg_profile *profile = route_est(settings->cfg, request->path, &op, label);
    begin("est");
    if (!profile) {
        answer_nobody(response, "no profile has this EST path");
    } else if (within_rates(front, settings->cfg, profile, request, response)) {
        struct est_reply *reply = mem_zalloc(sizeof *reply);
        unsigned agents;
        struct est_call call = {
            .settings = settings,
            .profile = profile,
            .label = label,
            .op = op,
            .method = request->method,
            .content_type = http_header_get(request->headers, "Content-Type", NULL),
            .body = request->body,
            .peer = request->certificate,
            .along = request->along,
            .along_count = request->along_count,
            .binding = request->binding,
            .tls = request->tls,
            .origin = request->peer,
            .guard = front->guard,
            .nonces = front->nonces,
            .store = ra_store_get(front->ra),
            .target = request->target,
            .id = current.id,
        };
        call.authorization =
            http_header_get(request->headers, "Authorization", &call.authorizations);
        (void)http_header_get(request->headers, "User-Agent", &agents);
        call.user_agent = agents > 0;
        memcpy(current.profile, profile->name, strnlen(profile->name, 64));
        est_door_handle(front->ra, &call, reply);
        metrics_lenient(front->metrics, reply->lenient);
        est_answer(reply, response);
        current.note = reply->note;
        memcpy(current.delivers, reply->delivers, sizeof current.delivers);
        memcpy(current.delivers_more, reply->delivers_more, sizeof current.delivers_more);
        current.more_count = reply->more_count;
        est_reply_clear(reply);
        free(reply);
    }
    count(front);
    ra_settings_free(settings);
}

/* One line per request. */
static void log_request(const struct http_request *request, const struct http_response *response,
                        int64_t milliseconds)
{
    const struct ra_note *note = &current.note;
    struct log_line line;
    log_begin(&line, note->fault ? LOG_ERROR : LOG_INFO, "request");
    log_str(&line, "id", current.id);
    log_str(&line, "request", note->request_id[0] ? note->request_id : NULL);
    log_str(&line, "client", request->peer);
    log_str(&line, "door", current.door);
    log_str(&line, "profile", current.profile[0] ? current.profile : NULL);
    log_str(&line, "operation", note->operation);
    log_str(&line, "transaction", note->txn[0] ? note->txn : NULL);
    log_str(&line, "subject", note->subject[0] ? note->subject : NULL);
    log_str(&line, "outcome", note->outcome);
    log_str(&line, "reason", note->reason);
    log_str(&line, "detail", note->detail[0] ? note->detail : NULL);
    log_str(&line, "family", note->family);
    log_str(&line, "legacy", note->legacy);
    log_str(&line, "csr_digest", note->csr_digest);
    log_num(&line, "status", response->status);
    log_num(&line, "ms", milliseconds);
    if (!response->sent)
        log_str(&line, "delivery", "failed");
    log_end(&line);
}

static void door_done(void *arg, const struct http_request *request,
                      const struct http_response *response)
{
    struct front *front = arg;
    if (response->sent && current.delivers[0])
        ra_delivered(front->ra, current.delivers);
    for (size_t i = 0; response->sent && i < current.more_count; i++)
        ra_delivered(front->ra, current.delivers_more[i]);
    log_request(request, response, clock_mono_ms() - current.started);
}

static void admin_handle(void *arg, const struct http_request *request,
                         struct http_response *response)
{
    struct front *front = arg;
    struct ra_settings *settings = front_settings(front);
    struct admin admin = {
        ra_store_get(front->ra), ra_lines_get(front->ra), settings, front->metrics, {0}};
    pthread_mutex_lock(&front->mutex);
    if (front->watched)
        http_server_counts_add(front->watched, &admin.counts);
    pthread_mutex_unlock(&front->mutex);
    admin_answer(&admin, request, response);
    ra_settings_free(settings);
}

static enum http_edge judge_edge(void *arg, const struct cert *certificate,
                                 struct cert *const *along, size_t along_count)
{
    struct ra_settings *settings = front_settings(arg);
    enum http_edge ret = edge_judge(settings, certificate, along, along_count);
    ra_settings_free(settings);
    return ret;
}

struct http_handler front_scep(struct front *front)
{
    return (struct http_handler){scep_handle, door_done, front, NULL};
}

struct http_handler front_est(struct front *front)
{
    return (struct http_handler){est_handle, door_done, front, judge_edge};
}

struct http_handler front_admin(struct front *front)
{
    return (struct http_handler){admin_handle, NULL, front, NULL};
}
