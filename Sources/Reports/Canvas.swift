import CCairo
import CLoader
import Checkpoints

/// Draws with Cairo into a PNG or SVG. Only this file uses Cairo's objects, which live as long as the canvas. Cairo
/// keeps the first error as a status that turns later calls into no-ops, so only `finish()` has to check it.
package final class Canvas {
  /// The file format.
  package enum Format { case png, svg }

  /// Which part of a text is placed at the given position.
  enum Anchor { case start, middle, end }

  /// A color, with components from 0 to 1.
  struct Color {
    var red, green, blue: Double
    var opacity = 1.0

    /// Creates a color from `0xRRGGBB`.
    init(_ hex: UInt32, opacity: Double = 1) {
      red = Double(hex >> 16 & 0xFF) / 255
      green = Double(hex >> 8 & 0xFF) / 255
      blue = Double(hex & 0xFF) / 255
      self.opacity = opacity
    }
  }

  private let surface: OpaquePointer?
  private let context: OpaquePointer?
  private let format: Format
  private let sink = Sink()
  /// The texts drawn so far, with their positions.
  package private(set) var texts: [(text: String, x: Double, y: Double)] = []
  /// The polylines drawn so far.
  package private(set) var lines: [[(x: Double, y: Double)]] = []

  /// Collects the bytes that Cairo writes.
  private final class Sink {
    var bytes: [UInt8] = []

    static let write: cairo_write_func_t = { closure, data, count in
      guard let closure, let data else { return CAIRO_STATUS_WRITE_ERROR }
      let sink = Unmanaged<Sink>.fromOpaque(closure).takeUnretainedValue()
      sink.bytes.append(contentsOf: UnsafeBufferPointer(start: data, count: Int(count)))
      return CAIRO_STATUS_SUCCESS
    }
  }

  /// Creates a canvas with a size in points. A PNG has two pixels per point.
  init(_ format: Format, width: Double, height: Double) {
    self.format = format
    switch format {
    case .png: surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, Int32(width * 2), Int32(height * 2))
    case .svg:
      // The canvas owns both and destroys the surface before the sink.
      surface = cairo_svg_surface_create_for_stream(
        Sink.write, Unmanaged.passUnretained(sink).toOpaque(), width, height)
    }
    context = cairo_create(surface)
    if format == .png { cairo_scale(context, 2, 2) }
    cairo_set_line_join(context, CAIRO_LINE_JOIN_ROUND)
    cairo_set_line_cap(context, CAIRO_LINE_CAP_ROUND)
  }

  deinit {
    cairo_destroy(context)
    cairo_surface_destroy(surface)
  }

  /// Fills a rectangle.
  func fill(x: Double, y: Double, width: Double, height: Double, _ color: Color) {
    set(color)
    cairo_rectangle(context, x, y, width, height)
    cairo_fill(context)
  }

  /// Draws a polyline.
  func stroke(_ points: [(x: Double, y: Double)], _ color: Color, width: Double) {
    guard let first = points.first else { return }
    lines.append(points)
    set(color)
    cairo_set_line_width(context, width)
    cairo_move_to(context, first.x, first.y)
    for point in points.dropFirst() { cairo_line_to(context, point.x, point.y) }
    cairo_stroke(context)
  }

  /// Draws a dot with a white outline.
  func dot(x: Double, y: Double, radius: Double, _ color: Color) {
    cairo_arc(context, x, y, radius + 1.5, 0, 2 * .pi)
    set(Color(0xFFFFFF))
    cairo_fill(context)
    cairo_arc(context, x, y, radius, 0, 2 * .pi)
    set(color)
    cairo_fill(context)
  }

  /// Draws text with its baseline at the position; `rotated` turns it by 90° counterclockwise.
  func text(
    _ text: String, x: Double, y: Double, size: Double, _ color: Color, anchor: Anchor = .start, bold: Bool = false,
    rotated: Bool = false
  ) {
    texts.append((text, x, y))
    cairo_save(context)
    select(size: size, bold: bold)
    set(color)
    cairo_translate(context, x, y)
    if rotated { cairo_rotate(context, -.pi / 2) }
    let shift =
      switch anchor {
      case .start: 0.0
      case .middle: -width(text) / 2
      case .end: -width(text)
      }
    cairo_move_to(context, shift, 0)
    cairo_show_text(context, text)
    cairo_restore(context)
  }

  /// The width of text in points.
  func width(of text: String, size: Double, bold: Bool = false) -> Double {
    cairo_save(context)
    defer { cairo_restore(context) }
    select(size: size, bold: bold)
    return width(text)
  }

  /// The bytes of the file.
  /// - Returns: `nil` if Cairo failed, for example because memory ran out.
  func finish() -> [UInt8]? {
    guard loader_failure(loader_cairo) == nil, cairo_status(context) == CAIRO_STATUS_SUCCESS else { return nil }
    switch format {
    case .png:
      cairo_surface_flush(surface)
      let status = cairo_surface_write_to_png_stream(
        surface, Sink.write, Unmanaged.passUnretained(sink).toOpaque())
      guard status == CAIRO_STATUS_SUCCESS else { return nil }
    case .svg: cairo_surface_finish(surface)
    }
    return cairo_surface_status(surface) == CAIRO_STATUS_SUCCESS ? sink.bytes : nil
  }

  private func set(_ color: Color) {
    cairo_set_source_rgba(context, color.red, color.green, color.blue, color.opacity)
  }

  private func select(size: Double, bold: Bool) {
    cairo_select_font_face(
      context, "sans-serif", CAIRO_FONT_SLANT_NORMAL, bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL)
    cairo_set_font_size(context, size)
  }

  private func width(_ text: String) -> Double {
    var extents = cairo_text_extents_t()
    cairo_text_extents(context, text, &extents)
    return extents.x_advance
  }
}
