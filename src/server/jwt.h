/*
 * jwt.h - JSON Web Tokens for SQL over HTTP, as Turso's server takes them: signed with Ed25519, and
 * nothing else. Strict: the algorithm is not the token's to choose. Any thread; a key is read-only.
 */
#ifndef CEN_SERVER_JWT_H
#define CEN_SERVER_JWT_H

#include <cenote/cenote.h>

enum {
  GATEWAY_JWT_BYTES = 8192, /* of a token */
  GATEWAY_JWT_LEEWAY_S = 60 /* clocks differ: of exp and nbf */
};

struct gateway_jwt_key;

/* The public key: PEM ("BEGIN PUBLIC KEY"), or its 32 bytes in base64url (or base64). */
cenote_status gateway_jwt_key_parse(const char *text, size_t size, struct gateway_jwt_key **key,
                                    cenote_error *error);
void gateway_jwt_key_free(struct gateway_jwt_key *key);

enum gateway_jwt { GATEWAY_JWT_REFUSED, GATEWAY_JWT_WRITES, GATEWAY_JWT_READS };

/* What the token allows: the claim "a" says "rw" (so does its absence) or "ro". A token that is
 * bound to parts of a database or to one of several (claims "p" and "id") is refused, since nobody
 * here would hold it to that. */
enum gateway_jwt gateway_jwt_check(const struct gateway_jwt_key *key, const char *token,
                                   int64_t now_unix_s);

#endif
