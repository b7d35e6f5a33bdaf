/* Keys that anybody can make again from a word, so that a stored message can be opened without a
 * stored key. They protect nothing. */
#ifndef TESTS_SUPPORT_SEED_KEY_H
#define TESTS_SUPPORT_SEED_KEY_H

#include <openssl/evp.h>

/* An RSA key of 2048 bits: each prime is the first one from a number on that is made of SHA-256
 * over the word. The caller frees it. Aborts if OpenSSL fails. */
EVP_PKEY *seed_key(const char *word);

#endif
