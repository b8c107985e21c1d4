import Essentials
import OrderedJSON

extension Recipe {
  /// `arguments` for a file in `folder` that people publish. Paths are relative to `folder`, and only the last component
  /// is left of those that would lead through the home directory or the root of the file system.
  package func arguments(publishedIn folder: URL) -> JSONObject {
    JSONObject(
      arguments.members.map { key, value in
        (key, value.changingPaths(PathKind(key, value)) { relativePath($0, to: folder.path) })
      })
  }

  /// The path of a file or folder, relative to `folder`. A name that is no path stays as it is.
  private func relativePath(_ text: String, to folder: String) -> String {
    let isPrivate = text.hasPrefix("/") || text.hasPrefix("~/")
    let place = locate(text)
    guard isPrivate || FileManager.default.fileExists(atPath: place) else { return text }
    return PublicPath.relative(place, to: folder, wasRelative: !isPrivate) ?? text.lastPathComponent
  }

  /// The recipe for others to read: as `yaml`, but absolute paths and those in the home directory are cut down to the
  /// name of the file or folder.
  var publicYAML: String {
    yaml { key, value in
      value.changingPaths(PathKind(key, value)) { text in
        text.hasPrefix("/") || text.hasPrefix("~/") ? text.lastPathComponent : text
      }
    }
  }
}

extension DatasetSource {
  /// The path or query for others to read.
  var publicName: String {
    (query.map(JSONValue.string)?.changingPaths(.query) { $0.lastPathComponent }
      ?? JSONValue.string(path).changingPaths(.text) { $0.lastPathComponent }).string ?? ""
  }
}

/// Which texts in a recipe's value are paths.
private enum PathKind {
  /// All of them.
  case path
  /// Those that name a source's files.
  case source
  /// The quoted ones of an SQL query that are absolute or in the home directory.
  case query
  /// Those that are absolute or in the home directory.
  case text

  init(_ key: String, _ value: JSONValue) {
    switch key {
    case "model_name_or_path", "teacher_model_name_or_path", "chat_template_path": self = .path
    case "dataset_name", "datasets", "eval_dataset": self = .source
    // A list has the questions themselves.
    case "questions": self = value.string == nil ? .text : .path
    case "query": self = .query
    default: self = .text
    }
  }

  /// The kind of a member of an object.
  func member(_ key: String) -> PathKind {
    switch (self, key) {
    case (.path, _), (.source, "path"), (.source, "data_files"), (.source, "data_dir"): .path
    case (_, "query"): .query
    default: .text
    }
  }
}

extension JSONValue {
  fileprivate func changingPaths(_ kind: PathKind, _ change: (String) -> String) -> JSONValue {
    switch self {
    case .string(let text):
      switch kind {
      case .path, .source: return .string(change(text))
      case .query: return .string(text.changingQuotedPaths(change))
      case .text: return .string(text.isPrivatePath ? change(text) : text)
      }
    case .array(let elements): return .array(elements.map { $0.changingPaths(kind, change) })
    case .object(let object):
      return .object(
        JSONObject(object.members.map { ($0.key, $0.value.changingPaths(kind.member($0.key), change)) }))
    default: return self
    }
  }
}

extension String {
  /// Whether this is an absolute path or one in the home directory, rather than a word such as "/no_think".
  fileprivate var isPrivatePath: Bool {
    guard hasPrefix("/") || hasPrefix("~/") else { return false }
    return !contains { $0.isWhitespace } && dropFirst(2).contains("/")
      || FileManager.default.fileExists(atPath: expandingTilde)
  }

  fileprivate var lastPathComponent: String { split(separator: "/").last.map(String.init) ?? self }

  /// SQL has paths in quotation marks, such as `FROM '/data/rows.parquet'`.
  fileprivate func changingQuotedPaths(_ change: (String) -> String) -> String {
    let parts = split(omittingEmptySubsequences: false) { $0 == "'" || $0 == "\"" }.map(String.init)
    return zip(parts, delimiters + [""]).map { ($0.isPrivatePath ? change($0) : $0) + $1 }.joined()
  }

  /// The quotation marks, in order.
  private var delimiters: [String] { filter { $0 == "'" || $0 == "\"" }.map { String($0) } }
}
