/* coordinator/store_hash.h - SHA-256 (FIPS 180-4), by which stored scripts are known.  Internal.  Thread: any. */
#ifndef MUSTER_STORE_HASH_H
#define MUSTER_STORE_HASH_H

#include "runtime/base.h"

#define MUSTER__STORE_HASH_LENGTH 32

void muster__store_hash(struct muster_bytes bytes, uint8_t ret_hash[MUSTER__STORE_HASH_LENGTH]);

#endif
