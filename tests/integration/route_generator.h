/*
 * route_generator.h - statements to put the router's verdicts to the test: a call of every function
 * in the server's catalogue, and random statements out of a small grammar that calls those
 * functions in every place where an expression may stand. One owner.
 */
#ifndef TEST_ROUTE_GENERATOR_H
#define TEST_ROUTE_GENERATOR_H

#include <libpq-fe.h>
#include <stdint.h>

struct generator;

/* Reads the functions of pg_catalog; fails the test when it cannot. */
struct generator *generator_new(PGconn *connection, uint64_t seed);
void generator_free(struct generator *generator);

/* One call of each function for each of two sets of arguments; NULL: that was all. Valid until
 * the next call. */
const char *generator_call(struct generator *generator);
/* Some random statement. Valid until the next call. */
const char *generator_statement(struct generator *generator);

/* The tables that the statements use. */
extern const char generator_tables[];

#endif
