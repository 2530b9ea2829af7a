/* limits.h - every ceiling, named once. Any floor may include it. */
#ifndef CEN_LIMITS_H
#define CEN_LIMITS_H

enum {
  CEN_MAX_OPERATION_ID = 128,  /* bytes of an operation id that are kept */
  CEN_MAX_MANAGERS = 1024,     /* live managers in one process */
  CEN_MAX_CONNECTIONS = 10000, /* ceiling of the setting max_connections */
  CEN_MAX_SQL = 64 << 20,      /* bytes of one statement's text */
  CEN_MAX_ARGS = 65535,        /* PostgreSQL's own ceiling */
  CEN_MAX_COLUMNS = 4096,
  CEN_MAX_BATCH = 100000,    /* statements of one batch */
  CEN_MAX_SAVEPOINTS = 1000, /* nested transactions */
  CEN_MAX_URL = 8192,
  CEN_MAX_PASSWORD = 1024,
  CEN_MAX_INI = 1 << 20,
  CEN_STATEMENT_CACHE = 128 /* prepared statements of one connection */
};

#endif
