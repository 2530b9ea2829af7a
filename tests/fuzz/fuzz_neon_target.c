/*
 * fuzz_neon_target.c - any bytes as a connection string: the URL that is dialled for it, if any, names
 * a configured server, the client's user and database, and nothing else.
 */
#include "server/neon_target.h"
#include "wire/neon.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
  if (!truth) {
    abort();
  }
}

static const struct neon_source sources[] = {
    {"shop", "postgresql://owner:secret@db:5433/live?sslmode=require&password=secret"},
    {"crm", "postgresql://owner:secret@db:5433/crm"},
    {"host", "postgresql://h/d"}};

static void check(const struct neon_targets *targets, const struct cen_neon_url *url,
                  const struct neon_choice *choice)
{
  static const char *const hosts[] = {"db", "db", "h", "listed", "127.0.0.1"};
  static const uint16_t ports[] = {5433, 5433, 0, 0, 7};
  struct cen_neon_url again;
  struct cen_buf dialled;
  cen_buf_init(&dialled, 1 << 16);
  require(choice->target < 5 && choice->configured == (choice->target < 3));
  require(neon_target_url(targets, choice, url->user, &dialled));
  require(strstr(dialled.data, "secret") == NULL || strstr(url->user, "secret") != NULL ||
          strstr(choice->database, "secret") != NULL);
  if (dialled.size <= 8192) {
    require(cen_neon_url_parse(&again, dialled.data, dialled.size, NULL) == CENOTE_OK);
    require(strcmp(again.user, url->user) == 0 && !again.has_password);
    require(strcmp(again.host, hosts[choice->target]) == 0 && again.port == ports[choice->target]);
    require(strcmp(again.database, choice->database) == 0);
    require(strcmp(again.query, choice->target == 0   ? "sslmode=require"
                                : choice->target == 3 ? "sslmode=verify-full"
                                                      : "") == 0);
    cen_neon_url_deinit(&again);
  }
  cen_buf_deinit(&dialled);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct neon_targets *targets;
  struct neon_choice choice;
  struct cen_neon_url url;
  require(neon_targets_new(sources, 3, "gate.example", "listed,127.0.0.1:7", &targets, NULL) ==
          CENOTE_OK);
  if (cen_neon_url_parse(&url, (const char *)data, size, NULL) == CENOTE_OK &&
      neon_target_find(targets, url.host, url.port, url.database, &choice)) {
    check(targets, &url, &choice);
  }
  cen_neon_url_deinit(&url);
  neon_targets_free(targets);
  return 0;
}
