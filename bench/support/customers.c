/* customers.c - see customers.h. */
#include "support/customers.h"

#include "support/postgres.h"

static const char make_table[] =
    "SET client_min_messages = warning;"
    "DROP SCHEMA IF EXISTS cenote_bench CASCADE; CREATE SCHEMA cenote_bench;"
    "CREATE TABLE cenote_bench.customer (id bigint PRIMARY KEY, name text NOT NULL,"
    " visits bigint NOT NULL) WITH (fillfactor = 50);"
    "INSERT INTO cenote_bench.customer SELECT i, 'name ' || i, 0 FROM generate_series(1, 10000) i;"
    "ANALYZE cenote_bench.customer";

const char bench_customer_read[] = "SELECT id, name FROM cenote_bench.customer WHERE id = $1";
const char bench_customer_write[] =
    "UPDATE cenote_bench.customer SET visits = visits + 1 WHERE id = $1 RETURNING id";

static void run_alone(const char *url, const char *sql)
{
  PGconn *connection = bench_postgres_connect(url);
  bench_postgres_run(connection, sql);
  PQfinish(connection);
}

void bench_customers_make(const char *url)
{
  run_alone(url, make_table);
}

void bench_customers_drop(const char *url)
{
  run_alone(url, "SET client_min_messages = warning; DROP SCHEMA cenote_bench CASCADE");
}

int64_t bench_customer_key(int64_t number)
{
  return 1 + number * 7919 % BENCH_CUSTOMERS;
}

const char *bench_ask_sql(const bench_ask *ask)
{
  return ask->write ? bench_customer_write : bench_customer_read;
}
