/*
 * test_cert.h - an authority of the test's own and a server's certificate signed by it, for
 * localhost and 127.0.0.1; or one with a fault. Any thread.
 */
#ifndef TEST_CERT_H
#define TEST_CERT_H

#include <openssl/ssl.h>
#include <stdbool.h>

enum test_cert_kind { TEST_CERT_GOOD, TEST_CERT_WRONG_NAME, TEST_CERT_EXPIRED };

struct test_cert {
  X509 *authority, *own;
  EVP_PKEY *key; /* of `own` */
};

/* false: nothing is left to free. */
bool test_cert_make(struct test_cert *cert, enum test_cert_kind kind);
void test_cert_free(struct test_cert *cert);

/* PEM files, for those who read files. */
bool test_cert_write(const X509 *certificate, const char *path);
bool test_cert_write_key(const EVP_PKEY *key, const char *path);

#endif
