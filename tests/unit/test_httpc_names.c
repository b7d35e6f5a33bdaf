#include "base/clock.h"
#include "base/httpc.h"

#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 500
#define END_MS 60000 /* of a test that hangs */

static atomic_int begun, ended;
static atomic_bool over; /* looking up */

/* libcurl's, which asks on a thread of its own. A name server that does not answer. */
int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
    (void)node, (void)service, (void)hints, (void)ret;
    int64_t end = clock_mono_ms() + END_MS;
    begun++;
    while (!over && clock_mono_ms() < end)
        usleep(1000);
    ended++;
    return EAI_AGAIN;
}

/* Threads of this process. */
static unsigned tasks(void)
{
    struct stat st;
    assert_int_equal(stat("/proc/self/task", &st), 0);
    return (unsigned)st.st_nlink - 2;
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
    assert_in_range(clock_mono_ms() - start, DEADLINE_MS - 100, END_MS / 2);
    assert_int_equal(begun, 1);
    httpc_reply_clear(&reply);
    httpc_free(httpc);
    assert_int_equal(ended, 0);
    unsigned during = tasks();
    over = true;
    while (tasks() >= during) /* its thread ends by itself, and frees what it has */
        usleep(10000);
    assert_int_equal(ended, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_deadline)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
