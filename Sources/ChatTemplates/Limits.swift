/// What a template may use up. Templates come from strangers' model folders, so each of these stops a hostile one
/// long before the machine would, and is far beyond what a real conversation needs.
package struct Limits: Sendable {
  /// Units of work: about one a syntax node evaluated, an element visited or 16 bytes of text made.
  package var work = 20_000_000
  /// Bytes in any one text, the result included.
  package var textBytes = 64 << 20
  /// Levels of evaluation open at once, through expressions, statements, macros and nested data: some forty macros
  /// inside each other, in about half a megabyte of stack.
  package var levels = 320
  /// Levels of lists and dictionaries inside each other. Above the 512 that the JSON parser lets in.
  static let dataDepth = 600
  /// Levels of syntax inside each other.
  static let syntaxDepth = 160
  /// Elements that `range` may give, as in Jinja2's sandbox.
  static let rangeCount = 100_000

  /// What templates normally get.
  package init() {}
}
