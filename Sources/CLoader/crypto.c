#include <openssl/evp.h>

#include "loader.h"

#define FUNCTIONS(F)                                                                 \
  F(EVP_MD_CTX *, EVP_MD_CTX_new, (void), ())                                        \
  F(const EVP_MD *, EVP_sha1, (void), ())                                            \
  F(const EVP_MD *, EVP_sha256, (void), ())                                          \
  F(int, EVP_DigestInit_ex, (EVP_MD_CTX * a, const EVP_MD *b, ENGINE *c), (a, b, c)) \
  F(int, EVP_DigestUpdate, (EVP_MD_CTX * a, const void *b, size_t c), (a, b, c))     \
  F(int, EVP_DigestFinal_ex, (EVP_MD_CTX * a, unsigned char *b, unsigned int *c), (a, b, c))
#define VOIDS(F) F(void, EVP_MD_CTX_free, (EVP_MD_CTX * a), (a))

LOADER_TABLE(crypto, FUNCTIONS, VOIDS, "libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.3.dylib")
#define FUNCTION(type, name, parameters, arguments) LOADER_DEFINE(crypto, type, name, parameters, arguments, 0)
#define VOID(type, name, parameters, arguments) LOADER_DEFINE(crypto, type, name, parameters, arguments, )
FUNCTIONS(FUNCTION)
VOIDS(VOID)
