/* tests/test_link_ring.c - what tests/test_link.c says holds over rings in shared memory as well. */
#define OVER_RINGS true
#include "test_link.c"
