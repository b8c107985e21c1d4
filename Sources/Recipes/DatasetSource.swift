import Datasets
import OrderedJSON

/// A source of rows: the arguments of `datasets.load_dataset`, or a query, and the steps to apply.
public struct DatasetSource: Sendable, Hashable {
  /// A file, a folder or `org/name`; with `dataFiles` also `json`, `csv`, `parquet` or `text`. Empty for a query.
  public var path: String
  /// An SQL query instead of a path, answered by the DuckDB command line.
  public var query: String?
  /// The configuration (subset) of the dataset, as its `README.md` lists it.
  public var name: String?
  /// A folder inside `path` that contains the files.
  public var dataDir: String?
  /// The files of each split, or patterns for them; empty to find them by name.
  public var dataFiles: [String: [String]]
  /// The split, or part of one, as in `train[:80%]`.
  public var split: String
  /// The columns to keep; `nil` for all.
  public var columns: [String]?
  /// The share of this source in a mixture, relative to the other sources.
  public var fraction: Double?
  /// The steps to apply before the sources are combined.
  public var steps: [RowStep]

  /// Creates a source from `load_dataset`'s arguments, or from a query.
  public init(
    path: String = "", query: String? = nil, name: String? = nil, dataDir: String? = nil,
    dataFiles: [String: [String]] = [:], split: String = "train", columns: [String]? = nil, fraction: Double? = nil,
    steps: [RowStep] = []
  ) {
    self.path = path
    self.query = query
    self.name = name
    self.dataDir = dataDir
    self.dataFiles = dataFiles
    self.split = split
    self.columns = columns
    self.fraction = fraction
    self.steps = steps
  }

  /// Whether `path` is the format of `dataFiles`, as in `load_dataset("json", data_files=...)`.
  package var namesFormat: Bool { ["json", "csv", "parquet", "text"].contains(path) && !dataFiles.isEmpty }
}

extension DatasetSource: RecipeConvertible {
  static var listExpectation: String { "a list of sources" }
  static var expectation: String { "a path, or a mapping with path or query, name, split, columns, fraction and steps" }
  private static let keys = [
    "path", "query", "name", "data_dir", "data_files", "split", "columns", "fraction", "steps",
  ]

  init(_ value: RecipeValue) throws(RecipeValueError) {
    if case .scalar = value {
      self.init(path: try String(value))
      return
    }
    let members = try RecipeMembers(value, allowed: Self.keys, expected: Self.expectation)
    let query: String? = try members.optional("query")
    self.init(
      path: query == nil ? try members.required("path") : "", query: query, name: try members.optional("name"),
      dataDir: try members.optional("data_dir"),
      dataFiles: try members.optional("data_files", as: FilesBySplit.self)?.files ?? [:],
      split: try members.optional("split") ?? "train", columns: try members.optional("columns"),
      fraction: try members.optional("fraction"), steps: try members.optional("steps") ?? [])
    if let fraction, !(fraction >= 0) { throw RecipeValueError(path: ".fraction", reason: "must not be below 0") }
    if query != nil, let path: String = try members.optional("path") {
      throw RecipeValueError(reason: "has both a query and the path \(path); keep one of them")
    }
  }

  var json: JSONValue {
    var object = JSONObject()
    object["path"] = query == nil ? .string(path) : nil
    object["query"] = query.map { .string($0) }
    object["name"] = name.map { .string($0) }
    object["data_dir"] = dataDir.map { .string($0) }
    if !dataFiles.isEmpty { object["data_files"] = FilesBySplit(files: dataFiles).json }
    object["split"] = .string(split)
    object["columns"] = columns?.json
    object["fraction"] = fraction?.json
    if !steps.isEmpty { object["steps"] = steps.json }
    return .object(object)
  }
}

/// `data_files`: one or more files for `train`, or a mapping from splits to files.
private struct FilesBySplit: RecipeConvertible {
  static var expectation: String { "a file, a list of files, or a mapping from splits to files" }
  var files: [String: [String]]

  init(files: [String: [String]]) { self.files = files }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    files = [:]
    guard case .mapping(let members) = value else {
      files["train"] = try [String](value)
      return
    }
    for member in members {
      do { files[member.key] = try [String](member.value) } catch { throw error.inside(".\(member.key)") }
    }
  }

  var json: JSONValue { .object(JSONObject(files.sorted { $0.key < $1.key }.map { ($0.key, $0.value.json) })) }
}
