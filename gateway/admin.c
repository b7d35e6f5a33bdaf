#include "gateway/admin.h"

#include "base/text.h"

#include <string.h>

#define REASON_MAX ((size_t)300)

static void healthz(const struct admin *admin, struct http_response *response)
{
    (void)admin;
    response->status = buf_add_str(&response->body, "ok\n") ? 200 : 503;
}

static void add_reason(struct http_response *response, const char *what, const struct err *err)
{
    response->status = 503;
    if (!buf_add_fmt(&response->body, "%s: ", what))
        return;
    text_escape(bytes_str(err->text), REASON_MAX, &response->body);
    if (!buf_add_u8(&response->body, '\n'))
        return;
}

static void readyz(const struct admin *admin, struct http_response *response)
{
    struct err err = {0};
    response->status = 200;
    if (!admin->store->vt->health(admin->store, &err))
        add_reason(response, "store", &err);
    for (size_t i = 0; i < admin->settings->cfg->upstream_count; i++) {
        struct upstream *up = admin->settings->upstreams[i];
        if ((up->vt->caps & UP_INLINE) && up->vt->health && !up->vt->health(up, 0, &err))
            add_reason(response, up->name, &err);
    }
    if (response->status == 200 && !buf_add_str(&response->body, "ready\n"))
        response->status = 503;
}

static void metrics(const struct admin *admin, struct http_response *response)
{
    response->content_type = "text/plain; version=0.0.4";
    bool ok = metrics_print(admin->metrics, admin->store, admin->settings, &response->body) &&
              metrics_print_gate(&admin->counts, &response->body) &&
              metrics_print_lines(admin->lines, admin->settings, &response->body) &&
              metrics_print_revocation(admin->settings->revocation, &response->body);
    response->status = ok ? 200 : 503;
}

static const struct {
    const char *path;
    void (*answer)(const struct admin *admin, struct http_response *response);
} pages[] = {{"/healthz", healthz}, {"/readyz", readyz}, {"/metrics", metrics}};

void admin_answer(const struct admin *admin, const struct http_request *request,
                  struct http_response *response)
{
    response->content_type = "text/plain";
    response->no_store = true;
    response->status = 404;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (!bytes_equal_str(request->path, pages[i].path))
            continue;
        if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
            response->status = 405;
            response->allow = "GET, HEAD";
        } else {
            pages[i].answer(admin, response);
        }
        return;
    }
    if (!buf_add_str(&response->body, "not found\n"))
        response->status = 503;
}
