import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON

extension Recipe {
  /// The recipe as YAML: the keys that were given, in the order of the documentation. Read again it is the same recipe,
  /// so long as no path in it is relative to the file's folder.
  public var yaml: String {
    arguments.members.filter { origins[$0.key] != nil }
      // JSON is YAML; plain text where quotation marks would only be in the way.
      .map { "\($0.key): \($0.value.isPlainYAML ? $0.value.string ?? "" : $0.value.text())\n" }.joined()
  }

  /// Writes every honored key with its value as JSON, in one piece: `training_args.json`.
  /// - Throws: `SwiftletError` where it cannot be written.
  public func writeArguments(to url: URL) throws(SwiftletError) {
    try AtomicFile.write(JSONValue.object(arguments).text(.pretty) + "\n", to: url)
  }
}

extension JSONValue {
  /// Whether this is text that YAML reads as the same text without quotation marks.
  fileprivate var isPlainYAML: Bool {
    guard let string, let first = string.first, first.isLetter, first.isASCII else { return false }
    let isWord = string.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "_-./".contains($0)) }
    return isWord && !["null", "none", "true", "false", "yes", "no", "on", "off"].contains(string.lowercased())
  }
}
