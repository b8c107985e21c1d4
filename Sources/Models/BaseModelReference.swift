import Checkpoints
import Essentials

/// How saved files refer to a base model: by a name that others can use as well, never by a private path.
///
/// That is `org/name` on a hub, if the name or the model's files tell it. Otherwise it is a path relative to the folder
/// of the saved files, if that doesn't lead through the home directory or the root of the file system; otherwise
/// `placeholder`.
public struct BaseModelReference: Sendable, Hashable {
  /// The placeholder for a base model that saved files can't name.
  public static let placeholder = "BASE_MODEL"

  /// `org/name`; `nil` if it isn't known.
  public let hubName: String?
  /// The last component of the name or path, for prose.
  public let shortName: String
  /// The absolute path; `nil` for a model that is on a hub only.
  private let path: String?
  /// Whether the path was given relative to the working directory.
  private let isRelative: Bool

  /// - Parameters:
  ///   - name: the base model as the user spelled it.
  ///   - located: its path, if it is on this machine and `name` is relative to another folder.
  ///   - files: the opened model, whose configuration or GGUF header may tell its origin.
  public init(_ name: String, located: String? = nil, files: ModelFiles? = nil) {
    let place = (located ?? name).expandingTilde
    shortName = name.split(separator: "/").last.map(String.init) ?? name
    isRelative = !name.hasPrefix("/") && !name.hasPrefix("~")
    if Self.isHubName(name), !FileManager.default.fileExists(atPath: place) {
      path = nil
      hubName = (files?.gguf).flatMap(Self.origin) ?? name
    } else {
      path = URL(fileURLWithPath: place).standardizedFileURL.path
      hubName = files.flatMap { $0.gguf.map(Self.origin) ?? Self.origin(of: $0) }
    }
  }

  /// Whether `name` has the form `org/name`, rather than that of a path.
  public static func isHubName(_ name: String) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 2
      && parts.allSatisfy { part in
        part.first.map { $0.isASCII && ($0.isLetter || $0.isNumber) } == true
          && part.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
      }
  }

  /// The name in a file of `folder`.
  public func name(in folder: URL) -> String { hubName ?? relativePath(from: folder) ?? Self.placeholder }

  private func relativePath(from folder: URL) -> String? {
    guard let path, !path.isEmpty else { return nil }
    let start = folder.standardizedFileURL.path
    let shared = zip(path.split(separator: "/"), start.split(separator: "/")).prefix { $0 == $1 }.map(\.0)
    guard isRelative || !PublicPath.isSharedByAll(shared) else { return nil }
    return PublicPath.relative(path, to: start, wasRelative: isRelative)
  }

  // MARK: Origins

  /// The repository that a GGUF header names: the one the file was converted from, or else its base model.
  private static func origin(_ file: GGUFFile) -> String? {
    func text(_ key: String) -> String? { file.metadata[key]?.string }
    for key in [
      "general.source.huggingface.repository", "general.source.repo_url", "general.source.url",
      "general.base_model.0.repo_url",
    ] {
      if let name = text(key).flatMap(repository) { return name }
    }
    guard let organization = text("general.base_model.0.organization"), let name = text("general.base_model.0.name")
    else { return nil }
    // Converters replace dashes with spaces in names.
    let joined = "\(organization)/\(name)".replacing(" ", with: "-")
    return isHubName(joined) ? joined : nil
  }

  /// `org/name`, also from an address such as `https://huggingface.co/org/name`.
  private static func repository(_ text: String) -> String? {
    guard text.hasPrefix("https://") || text.hasPrefix("http://") else { return isHubName(text) ? text : nil }
    let parts = text.split(separator: "/").map(String.init)
    guard parts.count >= 4, parts[1].contains("huggingface") || parts[1].contains("hf.co") else { return nil }
    let name = "\(parts[2])/\(parts[3])"
    return isHubName(name) ? name : nil
  }

  /// The repository of a folder: of a download in the hub's cache, or the one in config.json.
  private static func origin(of files: ModelFiles) -> String? {
    let prefix = "models--"
    if let folder = files.url.standardizedFileURL.path.split(separator: "/").last(where: { $0.hasPrefix(prefix) }),
      let separator = folder.dropFirst(prefix.count).firstRange(of: "--")
    {
      let name = folder.dropFirst(prefix.count)
      let joined = "\(name[..<separator.lowerBound])/\(name[separator.upperBound...])"
      if isHubName(joined) { return joined }
    }
    return files.configurationJSON["_name_or_path"]?.string.flatMap { isHubName($0) ? $0 : nil }
  }
}
