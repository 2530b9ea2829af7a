/* gateway_parts.c - the table of parts. */
#include "server/gateway.h"

const struct gateway_part *const gateway_parts[GATEWAY_PARTS] = {
    [GATEWAY_MONITOR] = &gateway_monitor,     [GATEWAY_LIVE] = &gateway_live,
    [GATEWAY_DASHBOARD] = &gateway_dashboard, [GATEWAY_NEON] = &gateway_neon,
    [GATEWAY_HRANA] = &gateway_hrana,
};
