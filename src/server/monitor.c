/* monitor.c - stands in for the part until it is written. */
#include "server/gateway.h"

const struct gateway_part gateway_monitor = {.name = "monitor"};
