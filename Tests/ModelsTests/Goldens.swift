import Foundation
import OrderedJSON

/// The committed reference values.
enum Goldens {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Goldens")

  static func json(_ path: String) throws -> JSONValue {
    try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent(path)))
  }
}

extension JSONValue {
  var float: Float? { double.map(Float.init) }
  var floats: [Float] { array?.compactMap { $0.double.map(Float.init) } ?? [] }
  var ids: [Int32] { array?.compactMap { $0.integer.map(Int32.init) } ?? [] }
}

/// ‖a − b‖ / ‖b‖
func relativeError(_ a: [Float], _ b: [Float]) -> Double {
  guard a.count == b.count else { return .infinity }
  let difference = zip(a, b).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
  let norm = b.reduce(0.0) { $0 + Double($1) * Double($1) }
  return norm > 0 ? (difference / norm).squareRoot() : difference.squareRoot()
}
