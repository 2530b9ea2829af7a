/* settings_table.h - what the files around settings.c share: the table as rows, names in their
 * three spellings, values with their units, and the layers that are put on top of each other.
 * Any thread; nothing here keeps state outside the structs passed in. */
#ifndef CEN_SETTINGS_TABLE_H
#define CEN_SETTINGS_TABLE_H

#include "manager/settings.h"

enum cen_setting_type { CEN_SETTING_INT, CEN_SETTING_BOOL };

struct cen_setting_row {
  const char *name;
  enum cen_setting_type type;
  const char *unit; /* "", "ms", "bytes", "rows" */
  int64_t serverless, local, server;
  int64_t minimum, maximum;
  bool reloadable;
  const char *help;
};

struct cen_text_row {
  const char *name;
  bool secret;
  const char *help;
};

extern const struct cen_setting_row cen_setting_rows[CEN_SETTING_COUNT];
extern const struct cen_text_row cen_text_rows[CEN_TEXT_COUNT];

int64_t cen_setting_default(cen_setting_id id, cen_profile profile);

/* --- names (settings_name.c) */
enum cen_name_kind { CEN_NAME_NONE, CEN_NAME_NUMBER, CEN_NAME_TEXT, CEN_NAME_PROFILE };

struct cen_name {
  enum cen_name_kind kind;
  int id; /* cen_setting_id or cen_text_id */
};

enum { CEN_NAME_SIZE = 64 }; /* room for any setting's name in any spelling */

struct cen_name cen_name_find(const char *name);
/* The setting that was probably meant, or NULL. */
const char *cen_name_suggest(const char *name);
void cen_name_environment(char out[CEN_NAME_SIZE], const char *name); /* CENOTE_MAX_CONNECTIONS */
void cen_name_camel(char out[CEN_NAME_SIZE], const char *name);       /* acquireTimeout */
/* Calls `warn` for each variable that looks like a misspelt CENOTE_<SETTING>. */
void cen_name_check_environment(const char *const *environment,
                                void (*warn)(void *context, const char *line), void *context);

/* --- values (settings_value.c) */
/* `where` says where the value stands ("cenote.ini line 3: "), "" for an option. */
cenote_status cen_value_parse(cen_setting_id id, const char *text, const char *where,
                              int64_t *value, cenote_error *error);
cenote_status cen_value_check(cen_setting_id id, int64_t value, const char *where,
                              cenote_error *error);
cenote_status cen_value_check_text(cen_text_id id, const char *text, const char *where,
                                   cenote_error *error);

/* A variable of the environment; NULL also when it is empty. */
static inline const char *cen_environment(cen_getenv getenv_fn, void *context, const char *name)
{
  const char *value = getenv_fn(context, name);
  return value != NULL && value[0] != '\0' ? value : NULL;
}

/* --- layers (settings.c): a value of `origin` replaces one of a lower or the same origin. */
cenote_status cen_settings_apply(struct cen_settings *settings, const char *name, const char *value,
                                 cen_origin origin, const char *where, cenote_error *error);
/* Does `settings` hold a value for `name` from exactly this origin? */
bool cen_settings_given(const struct cen_settings *settings, struct cen_name name,
                        cen_origin origin);

/* --- the profile (profile.c) */
/* "vercel" … ; false for any other name. */
bool cen_profile_from_name(const char *name, cen_profile *profile);
/* CENOTE_CONFIG that lists the names. */
cenote_status cen_profile_parse(const char *name, const char *where, cen_profile *profile,
                                cenote_error *error);
/* What the surroundings say, without CENOTE_PROFILE: vercel, netlify, lambda or local. */
cen_profile cen_profile_detect(cen_getenv getenv_fn, void *getenv_context);
static inline bool cen_profile_serverless(cen_profile profile)
{
  return profile == CEN_PROFILE_VERCEL || profile == CEN_PROFILE_NETLIFY ||
         profile == CEN_PROFILE_LAMBDA;
}

/* --- the URL (url.c): fills settings->url and url_from, and auth_token from TURSO_AUTH_TOKEN.
 * `own_driver`: the caller brings a driver; then no URL is looked for. */
cenote_status cen_url_resolve(struct cen_settings *settings, const char *url, bool own_driver,
                              cen_getenv getenv_fn, void *getenv_context, cenote_error *error);

#endif
