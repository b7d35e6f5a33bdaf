#include "gateway/http.h"
#include "tests/support/config_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void nothing(void *arg, const struct http_request *request, struct http_response *response)
{
    (void)arg, (void)request, (void)response;
}

/* Without what gateway/interpose.c interposes, CivetWeb would wait for connections that never come;
 * the start is refused. This program is linked without it, as if a library update had made it
 * inert.
 */
static void test_refused(void **state)
{
    char dir[64], path[128];
    struct cfg *cfg;
    struct buf faults = {0};
    struct err err = {0};
    struct http_server *server;
    const struct cfg_urls none = {0};
    const struct http_door door = {&none, NULL, false, false, {nothing, NULL, NULL, NULL}};
    (void)state;
    config_dir_make(dir);
    snprintf(path, sizeof path, "%s/scepter.yaml", dir);
    if (!cfg_load_text(bytes_str(config_base), path, &fake_kinds, &cfg, &faults))
        fail_msg("%s", buf_str(&faults));
    const struct http_conf conf = {"test", &door, 1, cfg, 1, 2, 1000};
    assert_false(http_server_start(&conf, &server, &err));
    assert_int_equal(err.kind, ERR_LOCAL);
    assert_non_null(strstr(err.text, "not interposed"));
    cfg_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
