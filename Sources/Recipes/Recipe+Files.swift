import Diagnostics
import Checkpoints
import Essentials
import OrderedJSON

extension Recipe {
  /// The recipe as YAML: the keys that were given, in the order of the documentation. Reading it gives the same recipe
  /// unless a path is relative to the folder of the original file.
  public var yaml: String { yaml { $1 } }

  /// The recipe as YAML, with every value changed by `change`.
  func yaml(_ change: (_ key: String, JSONValue) -> JSONValue) -> String {
    arguments.members.filter { origins[$0.key] != nil }
      .map { member in
        let value = change(member.key, member.value)
        // JSON is YAML. Words need no quotation marks.
        return "\(member.key): \(value.isPlainYAML ? value.string ?? "" : value.text())\n"
      }.joined()
  }

  /// Writes `training_args.json`: every supported key with its value, and paths relative to the file's folder.
  /// - Throws: `SwiftletError` if it cannot be written.
  public func writeArguments(to url: URL) throws(SwiftletError) {
    let folder = url.deletingLastPathComponent()
    try AtomicFile.write(JSONValue.object(arguments(publishedIn: folder)).text(.pretty) + "\n", to: url)
  }
}

extension JSONValue {
  /// Whether YAML reads this text unchanged without quotation marks.
  fileprivate var isPlainYAML: Bool {
    guard let string, let first = string.first, first.isLetter, first.isASCII else { return false }
    let isWord = string.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "_-./".contains($0)) }
    return isWord && !["null", "none", "true", "false", "yes", "no", "on", "off"].contains(string.lowercased())
  }
}
