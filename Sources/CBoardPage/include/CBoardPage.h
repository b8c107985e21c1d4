#ifndef C_BOARD_PAGE_H
#define C_BOARD_PAGE_H

#include <stddef.h>

// A file of the board's page, as it is in this program.
typedef struct {
  // The name in the page's links.
  const char *name;
  // The media type.
  const char *type;
  const unsigned char *bytes;
  size_t count;
} BoardFile;

// The number of files.
size_t board_file_count(void);

// The file at an index below the count. The first one is the page itself.
BoardFile board_file(size_t index);

#endif
