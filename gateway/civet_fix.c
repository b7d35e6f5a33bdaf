/* Makes Debian's CivetWeb speak TLS under OpenSSL 3.
 *
 * libcivetweb 1.15 loads "libssl.so" and "libcrypto.so" with dlopen and looks its functions up by
 * their OpenSSL 1.1 names. Two things go wrong: these names exist only where libssl-dev is
 * installed, and SSL_get_peer_certificate is a macro in OpenSSL 3. The look-up then fails, CivetWeb
 * goes on, and the first TLS connection calls a NULL pointer. So the executable interposes dlopen
 * for these two names, answering with itself (it is linked with both libraries), and exports the
 * missing function. Whether this works is asked at every start: see http_library_start. */
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <stddef.h>
#include <string.h>

#undef SSL_get_peer_certificate

#define EXPORTED __attribute__((visibility("default"), used))

typedef void *(*dlopen_fn)(const char *name, int mode);

EXPORTED void *dlopen(const char *name, int mode)
{
    static _Atomic(dlopen_fn) real;
    if (!real)
        real = (dlopen_fn)dlsym(RTLD_NEXT, "dlopen");
    if (name && (strcmp(name, "libssl.so") == 0 || strcmp(name, "libcrypto.so") == 0))
        return real(NULL, RTLD_LAZY);
    return real(name, mode);
}

X509 *SSL_get_peer_certificate(const SSL *ssl);

EXPORTED X509 *SSL_get_peer_certificate(const SSL *ssl)
{
    return SSL_get1_peer_certificate(ssl);
}
