import Diagnostics
import OrderedJSON

/// The `pattern` of a `Replace` or `Split`: `{"String": ...}` or `{"Regex": ...}`.
enum TextPattern: Sendable {
  case literal([UInt8])
  case expression(RegularExpression)

  init(_ configuration: ConfigurationValue) throws(SwiftletError) {
    if let literal = configuration.member("String") {
      self = .literal(try literal.literal())
    } else if let expression = configuration.member("Regex") {
      do throws(SwiftletError) {
        self = .expression(try RegularExpression(try expression.string()))
      } catch {
        throw error.location.isEmpty ? expression.error(error.reason) : error
      }
    } else {
      throw configuration.error("must have a member String or Regex")
    }
  }

  /// A lower bound for the length of a match, in bytes. Empty matches do not count.
  var minMatchLength: Int {
    switch self {
    case .literal(let literal): literal.count
    case .expression: 1
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
