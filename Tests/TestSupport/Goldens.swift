import Foundation
import OrderedJSON

/// A committed reference file under `Tests/Goldens`.
package func golden(_ path: String) throws -> JSONValue {
  try JSONValue(parsing: Data(contentsOf: repository.appendingPathComponent("Tests/Goldens/\(path)")))
}

/// The root of the package.
package let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()
