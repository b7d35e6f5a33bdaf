#include "config/config.h"
#include "config/judge.h"
#include "config/read.h"
#include "config/schema.h"

#include <stddef.h>

#define HOUR INT64_C(3600)
#define KIB INT64_C(1024)
#define MIB (INT64_C(1024) * 1024)

#define JSON_URLS(scheme)                                                                          \
    "{\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"string\", \"pattern\": "       \
    "\"^" scheme "://([0-9.]+:[0-9]+|\\\\[[0-9A-Fa-f:.]+\\\\]:[0-9]+|unix:/.+)$\"}}"
const struct cfg_key cfg_listen_keys[] = {
    {.name = "scep",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_listen, scep),
     .meaning = "Where SCEP is served; it never asks for a TLS client certificate.",
     .form = "a list, each item http[s]://ADDRESS:PORT or http[s]://unix:PATH",
     .json = JSON_URLS("https?"),
     .read = cfg_read_urls,
     .clear = cfg_read_urls_clear},
    {.name = "est",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_listen, est),
     .meaning = "Where EST is served; by http only behind an edge (edge.client_cert).",
     .form = "a list, each item http[s]://ADDRESS:PORT or http[s]://unix:PATH",
     .json = JSON_URLS("https?"),
     .read = cfg_read_urls,
     .clear = cfg_read_urls_clear},
    {.name = "admin",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_listen, admin),
     .meaning = "Where health, metrics and the admin API are served; not for devices.",
     .form = "a list, each item https://ADDRESS:PORT or https://unix:PATH",
     .json = JSON_URLS("https"),
     .read = cfg_read_urls_tls,
     .clear = cfg_read_urls_clear},
    {0},
};

static const char *const tls_versions[] = {"1.2", "1.3", NULL};

static const struct cfg_key tls_other_keys[] = {
    {.name = "certificate",
     .type = CFG_CERT_FILE,
     .offset = offsetof(struct cfg_identity, chain),
     .required = true,
     .meaning = "A certificate, followed by its chain."},
    {.name = "key",
     .type = CFG_KEY_FILE,
     .offset = offsetof(struct cfg_identity, key),
     .required = true,
     .meaning = "Its private key."},
    {0},
};

const struct cfg_key cfg_tls_keys[] = {
    {.name = "certificate",
     .type = CFG_CERT_FILE,
     .offset = offsetof(struct cfg_tls, identity.chain),
     .required = true,
     .meaning = "The server's certificate, followed by its chain."},
    {.name = "key",
     .type = CFG_KEY_FILE,
     .offset = offsetof(struct cfg_tls, identity.key),
     .required = true,
     .meaning = "Its private key."},
    {.name = "others",
     .type = CFG_LIST,
     .offset = offsetof(struct cfg_tls, others),
     .sub = tls_other_keys,
     .meaning = "Further certificates. A client that names a host gets one with that DNS name, and "
                "of an RSA and an EC one with the same names the one that it can use.",
     .count_offset = offsetof(struct cfg_tls, other_count),
     .item_size = sizeof(struct cfg_identity),
     .judge = cfg_judge_tls_other},
    {.name = "min_version",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_tls, min_version),
     .def = "1.2",
     .words = tls_versions,
     .meaning = "The oldest version of TLS that is spoken."},
    {0},
};

const struct cfg_key cfg_limits_keys[] = {
    {.name = "body",
     .type = CFG_SIZE,
     .offset = offsetof(struct cfg_limits, body),
     .min = 16 * KIB,
     .max = 16 * MIB,
     .def = "128KiB",
     .meaning = "The largest request body that is read."},
    {.name = "threads",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_limits, threads),
     .min = 2,
     .max = 1024,
     .def = "64",
     .meaning = "Workers: complete requests that are answered at the same time."},
    {.name = "connections",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_limits, connections),
     .min = 16,
     .max = 1000000,
     .def = "16384",
     .meaning = "Open connections; beyond it the one that waits longest is closed."},
    {.name = "per_address",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_limits, per_address),
     .min = 0,
     .max = 1000000,
     .def = "4096",
     .meaning = "The same for one IPv4 address or one IPv6 /64; 0: no ceiling of its own."},
    {.name = "queue",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_limits, queue),
     .min = 1,
     .max = 1000000,
     .def = "1024",
     .meaning = "Complete requests that wait for a worker; beyond it they hear 503."},
    {.name = "first",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_limits, first),
     .min = 1,
     .max = HOUR,
     .def = "10s",
     .meaning = "From a connection to the end of its first request's headers, without the TLS "
                "handshake."},
    {.name = "handshake",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_limits, handshake),
     .min = 1,
     .max = HOUR,
     .def = "4s",
     .meaning = "A TLS handshake."},
    {.name = "request",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_limits, request),
     .min = 1,
     .max = HOUR,
     .def = "30s",
     .meaning = "The body of a request."},
    {.name = "reply",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_limits, reply),
     .min = 1,
     .max = HOUR,
     .def = "30s",
     .meaning = "Until the peer has taken a reply; also the longest wait for a worker."},
    {.name = "idle",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_limits, idle),
     .min = 1,
     .max = HOUR,
     .def = "5s",
     .meaning = "How long a connection is kept for another request."},
    {.name = "drain",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_limits, drain),
     .min = 1,
     .max = HOUR,
     .def = "20s",
     .meaning = "At the end: how long running requests may take."},
    {0},
};

#define JSON_BLOCKS "{\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"string\"}}"

const struct cfg_key cfg_edge_keys[] = {
    {.name = "proxy_protocol",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_edge, proxy_protocol),
     .meaning = "Peers whose connections begin with a PROXY header, version 1 or 2; the address in "
                "it is the client's.",
     .form = "a list, each item an address, a network such as 10.0.0.0/8, or unix",
     .json = JSON_BLOCKS,
     .read = cfg_read_blocks,
     .clear = cfg_read_blocks_clear},
    {.name = "client_cert",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_edge, client_cert),
     .meaning =
         "Peers that speak TLS with the devices, come to an http listener of EST, and tell "
         "the client's certificate in the header Client-Cert (RFC 9440); everybody else's is "
         "left out.",
     .form = "a list, each item an address, a network such as 10.0.0.0/8, or unix",
     .json = JSON_BLOCKS,
     .read = cfg_read_blocks,
     .clear = cfg_read_blocks_clear},
    {0},
};
