#include "support/test_cert.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

enum { DAY_S = 86400 };

struct issuer {
  X509 *certificate;
  EVP_PKEY *key;
};

/* Without an issuer it signs itself, as an authority. */
static X509 *certificate_new(EVP_PKEY *key, const char *name, const char *extension,
                             const struct issuer *issuer, long until_s)
{
  X509 *x = X509_new();
  X509 *signer = issuer ? issuer->certificate : x;
  X509V3_CTX context;
  if (!x) {
    return NULL;
  }
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), issuer ? 2 : 1);
  X509_gmtime_adj(X509_getm_notBefore(x), -2L * DAY_S);
  X509_gmtime_adj(X509_getm_notAfter(x), until_s);
  X509_set_pubkey(x, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                             (const unsigned char *)name, -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(signer));
  X509V3_set_ctx(&context, signer, x, NULL, NULL, 0);
  X509_EXTENSION *more = X509V3_EXT_conf_nid(
      NULL, &context, issuer ? NID_subject_alt_name : NID_basic_constraints, extension);
  X509_add_ext(x, more, -1);
  X509_EXTENSION_free(more);
  X509_sign(x, issuer ? issuer->key : key, EVP_sha256());
  return x;
}

bool test_cert_make(struct test_cert *cert, enum test_cert_kind kind)
{
  const bool elsewhere = kind == TEST_CERT_WRONG_NAME;
  struct issuer issuer = {.key = EVP_EC_gen("P-256")};
  *cert = (struct test_cert){.key = EVP_EC_gen("P-256")};
  if (issuer.key && cert->key) {
    issuer.certificate =
        certificate_new(issuer.key, "Test CA", "critical,CA:TRUE", NULL, 2L * DAY_S);
  }
  if (issuer.certificate) {
    cert->authority = issuer.certificate;
    cert->own = certificate_new(cert->key, elsewhere ? "elsewhere.example" : "localhost",
                                elsewhere ? "DNS:elsewhere.example" : "DNS:localhost,IP:127.0.0.1",
                                &issuer, kind == TEST_CERT_EXPIRED ? -1L * DAY_S : 1L * DAY_S);
  }
  EVP_PKEY_free(issuer.key);
  if (!cert->own) {
    test_cert_free(cert);
    return false;
  }
  return true;
}

void test_cert_free(struct test_cert *cert)
{
  X509_free(cert->authority);
  X509_free(cert->own);
  EVP_PKEY_free(cert->key);
  *cert = (struct test_cert){NULL, NULL, NULL};
}

static bool written(FILE *file, int fine)
{
  return fclose(file) == 0 && fine == 1;
}

bool test_cert_write(const X509 *certificate, const char *path)
{
  FILE *file = fopen(path, "we");
  return file && written(file, PEM_write_X509(file, certificate));
}

bool test_cert_write_key(const EVP_PKEY *key, const char *path)
{
  FILE *file = fopen(path, "we");
  return file && written(file, PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
}
