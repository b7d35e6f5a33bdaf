/* Clients that open a connection for each request, as fast as they can:
 *
 *   load HOST PORT PATH SECONDS THREADS VERSION [CHAIN.pem KEY.pem]
 *
 * VERSION is 1.2 or 1.3. Prints requests, failures, and the median and 99th percentile of their
 * time in microseconds. A reply counts if it is a whole 200. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 256
#define SAMPLES_MAX 200000
#define REPLY_MAX 65536

static struct sockaddr_in address;
static SSL_CTX *ctx;
static char request[1024];
static int64_t end_us;

struct client {
    pthread_t thread;
    unsigned done, failed;
    unsigned *samples;
    char *reply;
};

static void *need(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        exit(1);
    return memory;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int whole(const char *reply, size_t len)
{
    const char *head_end = strstr(reply, "\r\n\r\n"),
               *length = strcasestr(reply, "Content-Length:");
    return head_end && length && strncmp(reply, "HTTP/1.1 200 ", 13) == 0 &&
           len == (size_t)(head_end + 4 - reply) + strtoul(length + 15, NULL, 10);
}

static int exchange(SSL *ssl, char *reply)
{
    size_t len = 0;
    int n;
    if (SSL_connect(ssl) != 1 || SSL_write(ssl, request, (int)strlen(request)) <= 0)
        return 0;
    while (len < REPLY_MAX - 1 && (n = SSL_read(ssl, reply + len, (int)(REPLY_MAX - 1 - len))) > 0)
        len += (size_t)n;
    reply[len] = 0;
    return whole(reply, len);
}

static int once(char *reply)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), ok = 0;
    SSL *ssl = SSL_new(ctx);
    if (fd >= 0 && ssl && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        SSL_set_fd(ssl, fd);
        ok = exchange(ssl, reply);
    }
    SSL_free(ssl);
    if (fd >= 0)
        close(fd);
    return ok;
}

static void *client_run(void *arg)
{
    struct client *client = arg;
    int64_t began;
    while ((began = now_us()) < end_us) {
        if (!once(client->reply))
            client->failed++;
        else if (client->done < SAMPLES_MAX)
            client->samples[client->done++] = (unsigned)(now_us() - began);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const unsigned *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void report(struct client *clients, int count)
{
    size_t total = 0, failed = 0;
    for (int i = 0; i < count; i++)
        total += clients[i].done;
    unsigned *all = need((total + 1) * sizeof *all);
    for (int i = 0, at = 0; i < count; i++) {
        memcpy(all + at, clients[i].samples, clients[i].done * sizeof *all);
        at += (int)clients[i].done;
        failed += clients[i].failed;
    }
    if (total) {
        qsort(all, total, sizeof *all, compare);
        printf("%zu %zu %u %u\n", total, failed, all[total / 2], all[total * 99 / 100]);
    } else {
        printf("0 %zu 0 0\n", failed);
    }
    free(all);
}

int main(int argc, char **argv)
{
    struct client clients[THREADS_MAX] = {0};
    if (argc != 7 && argc != 9)
        return 2;
    int threads = (int)strtol(argv[5], NULL, 10),
        version = strcmp(argv[6], "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    signal(SIGPIPE, SIG_IGN);
    address = (struct sockaddr_in){.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)strtol(argv[2], NULL, 10))};
    ctx = SSL_CTX_new(TLS_client_method());
    if (threads < 1 || threads > THREADS_MAX ||
        inet_pton(AF_INET, argv[1], &address.sin_addr) != 1 || !ctx)
        return 2;
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    if (argc == 9 && (SSL_CTX_use_certificate_chain_file(ctx, argv[7]) != 1 ||
                      SSL_CTX_use_PrivateKey_file(ctx, argv[8], SSL_FILETYPE_PEM) != 1))
        return 2;
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             argv[3]);
    end_us = now_us() + (int64_t)(strtod(argv[4], NULL) * 1e6);
    for (int i = 0; i < threads; i++) {
        clients[i].samples = need(SAMPLES_MAX * sizeof(unsigned));
        clients[i].reply = need(REPLY_MAX);
        if (pthread_create(&clients[i].thread, NULL, client_run, &clients[i]) != 0)
            exit(1);
    }
    for (int i = 0; i < threads; i++)
        pthread_join(clients[i].thread, NULL);
    report(clients, threads);
    for (int i = 0; i < threads; i++) {
        free(clients[i].samples);
        free(clients[i].reply);
    }
    SSL_CTX_free(ctx);
    return 0;
}
