// PCRE2 wants to know its code unit width before its header is read; 8 is UTF-8.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
