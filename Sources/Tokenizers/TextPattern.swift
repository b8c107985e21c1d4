import Diagnostics
import OrderedJSON

/// What `Replace` and `Split` look for: `{"String": ...}` or `{"Regex": ...}`.
enum TextPattern: Sendable {
  case literal([UInt8])
  case expression(RegularExpression)

  init(_ configuration: ConfigurationValue) throws(SwiftletError) {
    if let literal = configuration.member("String") {
      self = .literal(Array(try literal.string().utf8))
    } else if let expression = configuration.member("Regex") {
      self = .expression(try RegularExpression(try expression.string(), place: expression.place))
    } else {
      throw configuration.error("must hold a String or a Regex")
    }
  }

  /// Calls `body` with each match in `range`, from left to right.
  func forEachMatch(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    switch self {
    case .expression(let expression): expression.forEachMatch(bytes, range, body)
    case .literal(let literal):
      guard let first = literal.first else { return }
      var index = range.lowerBound
      while index + literal.count <= range.upperBound {
        guard bytes[index] == first, bytes[index..<index + literal.count].elementsEqual(literal) else {
          index += 1
          continue
        }
        body(index..<index + literal.count)
        index += literal.count
      }
    }
  }
}
