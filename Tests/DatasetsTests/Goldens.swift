import Foundation
import OrderedJSON

/// The reference values in `Tests/Goldens/datasets`.
enum Goldens {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Goldens/datasets")

  static func load(_ name: String) throws -> JSONValue {
    try JSONValue(parsing: try Data(contentsOf: folder.appendingPathComponent(name)))
  }
}

extension JSONValue {
  var integers: [Int]? { array?.compactMap(\.integer) }
}
