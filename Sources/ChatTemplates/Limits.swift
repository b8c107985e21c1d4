/// Limits on the resources that a rendering may use. Templates are downloaded with models and are not trusted; these
/// limits stop a hostile template early and are far above what real conversations need.
package struct Limits: Sendable {
  /// Units of work. Evaluating a syntax node, visiting an element and creating 16 bytes of text cost about one each.
  package var work = 20_000_000
  /// Bytes in any one string, including the result.
  package var textBytes = 32 << 20
  /// Bytes of strings, lists and dictionaries that one rendering may create in total, whether or not they are still
  /// alive. The messages and the rendered text do not count.
  package var memoryBytes = 128 << 20
  /// What an element of a list costs of `memoryBytes`: the value itself and a small string.
  static let elementBytes = 64
  /// Nested evaluations of expressions, statements, macros and data: about forty nested macros, which take half a
  /// megabyte of stack.
  package var levels = 320
  /// Nested lists and dictionaries; more than the 512 that the JSON parser accepts.
  static let dataDepth = 600
  /// Nested syntax.
  static let syntaxDepth = 160
  /// The longest `range`, as in Jinja2's sandbox.
  static let rangeCount = 100_000

  /// The default limits.
  package init() {}
}
