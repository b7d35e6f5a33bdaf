#include "base/clock.h"
#include "base/httpc.h"

#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LOOKUP_MS 4000
#define DEADLINE_MS 500

static atomic_int begun, ended;

/* libcurl's, which asks on a thread of its own. A name server that does not answer. */
int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
    (void)node, (void)service, (void)hints, (void)ret;
    begun++;
    usleep(LOOKUP_MS * 1000);
    ended++;
    return EAI_AGAIN;
}

/* A deadline holds while a name is looked up, however long that takes; nothing was sent. */
static void test_deadline(void **state)
{
    struct httpc *httpc = NULL;
    struct httpc_reply reply = {0};
    struct err err = {0};
    int64_t start = clock_mono_ms();
    (void)state;
    assert_true(httpc_new(&(struct httpc_conf){0}, &httpc, &err));
    struct httpc_call call = {
        .method = "GET", .url = "http://ca.example.com/", .deadline = start + DEADLINE_MS};
    assert_int_equal(httpc_run(httpc, &call, &reply, &err), HTTPC_NOT_SENT);
    assert_in_range(clock_mono_ms() - start, DEADLINE_MS - 100, LOOKUP_MS / 2);
    assert_int_equal(begun, 1);
    httpc_reply_clear(&reply);
    httpc_free(httpc);
    assert_in_range(clock_mono_ms() - start, 0, LOOKUP_MS / 2);
    while (ended < 1)
        usleep(10000);
    usleep(200000); /* its thread ends by itself, and frees what it has */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_deadline)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
