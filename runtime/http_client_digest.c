/* runtime/http_client_digest.c - SHA-2, for what a script says its answers must be.  The only file that includes
 * OpenSSL's headers, whose library the HTTP client links anyway.  Any thread. */
#include "runtime/http_client.h"

#include <openssl/evp.h>
#include <string.h>

size_t muster__http_driver_digest(const char *algorithm, struct muster_bytes bytes,
                                  unsigned char ret_digest[MUSTER__DIGEST_MOST])
{
    const EVP_MD *type = strcmp(algorithm, "sha256") == 0   ? EVP_sha256()
                         : strcmp(algorithm, "sha384") == 0 ? EVP_sha384()
                         : strcmp(algorithm, "sha512") == 0 ? EVP_sha512()
                                                            : NULL;
    unsigned length = 0;
    if (type == NULL || EVP_Digest(bytes.data, bytes.length, ret_digest, &length, type, NULL) != 1)
        return 0;
    return length;
}
