#include "CBoardPage.h"

// The compiler notes the files that are asked for here, so that a change of one builds this file again. It doesn't do
// so for `.incbin`.
#if !__has_include(    \
  "index.html")        \
  || !__has_include(   \
    "board.css")       \
    || !__has_include( \
      "board.js")      \
      || !__has_include("uPlot.min.css") || !__has_include("uPlot.min.js") || !__has_include("uPlot-LICENSE.txt")
#error "a file of the board's page is missing"
#endif

#if defined(__APPLE__)
#define SECTION ".section __TEXT,__const\n"
#define END ".text\n"
#define SYMBOL(name) "_" #name
#else
#define SECTION ".pushsection .rodata\n"
#define END ".popsection\n"
#define SYMBOL(name) #name
#endif

// The bytes of a file, between two symbols.
#define EMBED(symbol, file)                                                              \
  __asm__(SECTION ".globl " SYMBOL(symbol) "\n.globl " SYMBOL(symbol##_end) "\n" SYMBOL( \
    symbol) ":\n.incbin \"" file "\"\n" SYMBOL(symbol##_end) ":\n.byte 0\n" END);        \
  extern const unsigned char symbol[], symbol##_end[];

EMBED(board_page_html, "index.html")
EMBED(board_page_css, "board.css")
EMBED(board_page_js, "board.js")
EMBED(board_uplot_css, "uPlot.min.css")
EMBED(board_uplot_js, "uPlot.min.js")
EMBED(board_uplot_license, "uPlot-LICENSE.txt")

size_t board_file_count(void) { return 6; }

BoardFile board_file(size_t index) {
  const BoardFile files[] = {
    {"", "text/html", board_page_html, (size_t)(board_page_html_end - board_page_html)},
    {"board.css", "text/css", board_page_css, (size_t)(board_page_css_end - board_page_css)},
    {"board.js", "text/javascript", board_page_js, (size_t)(board_page_js_end - board_page_js)},
    {"uPlot.min.css", "text/css", board_uplot_css, (size_t)(board_uplot_css_end - board_uplot_css)},
    {"uPlot.min.js", "text/javascript", board_uplot_js, (size_t)(board_uplot_js_end - board_uplot_js)},
    {"uPlot-LICENSE.txt", "text/plain", board_uplot_license, (size_t)(board_uplot_license_end - board_uplot_license)},
  };
  return files[index < 6 ? index : 0];
}
