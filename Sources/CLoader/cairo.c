#include <cairo.h>
#include <cairo-svg.h>

#include "loader.h"

#define FUNCTIONS(F)                                                                                             \
  F(cairo_t *, cairo_create, (cairo_surface_t * a), (a))                                                         \
  F(cairo_surface_t *, cairo_image_surface_create, (cairo_format_t a, int b, int c), (a, b, c))                  \
  F(cairo_surface_t *, cairo_svg_surface_create_for_stream, (cairo_write_func_t a, void *b, double c, double d), \
    (a, b, c, d))                                                                                                \
  F(cairo_status_t, cairo_status, (cairo_t * a), (a))                                                            \
  F(cairo_status_t, cairo_surface_status, (cairo_surface_t * a), (a))                                            \
  F(cairo_status_t, cairo_surface_write_to_png_stream, (cairo_surface_t * a, cairo_write_func_t b, void *c), (a, b, c))
#define VOIDS(F)                                                                                             \
  F(void, cairo_arc, (cairo_t * a, double b, double c, double d, double e, double f), (a, b, c, d, e, f))    \
  F(void, cairo_destroy, (cairo_t * a), (a))                                                                 \
  F(void, cairo_fill, (cairo_t * a), (a))                                                                    \
  F(void, cairo_line_to, (cairo_t * a, double b, double c), (a, b, c))                                       \
  F(void, cairo_move_to, (cairo_t * a, double b, double c), (a, b, c))                                       \
  F(void, cairo_rectangle, (cairo_t * a, double b, double c, double d, double e), (a, b, c, d, e))           \
  F(void, cairo_restore, (cairo_t * a), (a))                                                                 \
  F(void, cairo_rotate, (cairo_t * a, double b), (a, b))                                                     \
  F(void, cairo_save, (cairo_t * a), (a))                                                                    \
  F(void, cairo_scale, (cairo_t * a, double b, double c), (a, b, c))                                         \
  F(void, cairo_select_font_face, (cairo_t * a, const char *b, cairo_font_slant_t c, cairo_font_weight_t d), \
    (a, b, c, d))                                                                                            \
  F(void, cairo_set_font_size, (cairo_t * a, double b), (a, b))                                              \
  F(void, cairo_set_line_cap, (cairo_t * a, cairo_line_cap_t b), (a, b))                                     \
  F(void, cairo_set_line_join, (cairo_t * a, cairo_line_join_t b), (a, b))                                   \
  F(void, cairo_set_line_width, (cairo_t * a, double b), (a, b))                                             \
  F(void, cairo_set_source_rgba, (cairo_t * a, double b, double c, double d, double e), (a, b, c, d, e))     \
  F(void, cairo_show_text, (cairo_t * a, const char *b), (a, b))                                             \
  F(void, cairo_stroke, (cairo_t * a), (a))                                                                  \
  F(void, cairo_surface_destroy, (cairo_surface_t * a), (a))                                                 \
  F(void, cairo_surface_finish, (cairo_surface_t * a), (a))                                                  \
  F(void, cairo_surface_flush, (cairo_surface_t * a), (a))                                                   \
  F(void, cairo_text_extents, (cairo_t * a, const char *b, cairo_text_extents_t *c), (a, b, c))              \
  F(void, cairo_translate, (cairo_t * a, double b, double c), (a, b, c))

LOADER_TABLE(cairo, FUNCTIONS, VOIDS, "libcairo.so.2", "libcairo.2.dylib")
#define FUNCTION(type, name, parameters, arguments) LOADER_DEFINE(cairo, type, name, parameters, arguments, 0)
#define VOID(type, name, parameters, arguments) LOADER_DEFINE(cairo, type, name, parameters, arguments, )
FUNCTIONS(FUNCTION)
VOIDS(VOID)
