import Checkpoints
import Diagnostics
import Datasets
import Essentials

/// The configurations of a dataset folder, from the YAML front matter of its `README.md`, as on the Hugging Face Hub.
struct DatasetCard {
  private let folder: String
  private var configurations: [Configuration] = []

  private struct Configuration {
    var name: String
    var isDefault: Bool
    var files: [String: [String]]
  }

  /// Reads the card. A file, or a folder without a card, has no configurations.
  /// - Throws: `SwiftletError` if the list of configurations is malformed.
  init(folder: String) throws(SwiftletError) {
    self.folder = folder
    let readme = URL(fileURLWithPath: folder).appendingPathComponent("README.md")
    guard let text = try? RegularFile.text(of: readme) else { return }
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    guard lines.first?.trimmed == "---",
      let end = lines.dropFirst().firstIndex(where: { $0.trimmed == "---" }),
      // Ignore cards that are not YAML, and all other keys.
      let entries = try? RecipeValue.entries(ofYAML: lines[1..<end].joined(separator: "\n"), file: readme.path),
      case .list(let list)? = entries.first(where: { $0.key == "configs" })?.value
    else { return }
    for element in list {
      do {
        configurations.append(try Self.configuration(element))
      } catch {
        throw SwiftletError.data("configs\(error.path) \(error.reason)", at: FileLocation(file: readme.path))
      }
    }
  }

  private static func configuration(_ value: RecipeValue) throws(RecipeValueError) -> Configuration {
    guard case .mapping(let members) = value else { throw .mismatch(value, expected: "a mapping with config_name") }
    func member(_ key: String) -> RecipeValue? { members.first { $0.key == key }?.value }
    let name = try member("config_name").map { value throws(RecipeValueError) in try String(value) } ?? "default"
    let isDefault = try member("default").map { value throws(RecipeValueError) in try Bool(value) } ?? false
    var files: [String: [String]] = [:]
    switch member("data_files") {
    case .list(let elements)?:
      for element in elements {
        if case .mapping = element {
          let members = try RecipeMembers(
            element, allowed: ["split", "path"], expected: "a pattern, or a mapping with split and path")
          files[try members.required("split"), default: []] += try members.required("path", as: [String].self)
        } else {
          files["train", default: []].append(try String(element))
        }
      }
    case .mapping(let members)?: for member in members { files[member.key] = try [String](member.value) }
    case let value?: files["train"] = [try String(value)]
    case nil:
      if let folder = member("data_dir") { files["train"] = [try String(folder) + "/**"] }
    }
    return Configuration(name: name, isDefault: isDefault || name == "default", files: files)
  }

  /// The files of each split of a configuration; without a name, of the default or only configuration.
  /// - Returns: `nil` if the card names no files.
  /// - Throws: `SwiftletError` if there is no such configuration, or several and no default.
  func files(of name: String?) throws(SwiftletError) -> [String: [String]]? {
    if configurations.isEmpty { return nil }
    let only = configurations.count == 1 ? configurations.first : nil
    let found = configurations.first { configuration in name.map { $0 == configuration.name } ?? configuration.isDefault
    }
    guard let configuration = found ?? (name == nil ? only : nil) else {
      let names = configurations.map(\.name).joined(separator: ", ")
      let asked = name.map { "has no configuration \"\($0)\"" } ?? "has several configurations"
      throw SwiftletError.data(
        "the dataset \(asked); set dataset_config to one of \(names)", at: FileLocation(file: folder))
    }
    return configuration.files.isEmpty ? nil : configuration.files
  }

  /// The folder with the name of a configuration that the card does not describe.
  /// - Throws: `SwiftletError` if there is none.
  func folder(of name: String) throws(SwiftletError) -> String {
    let path = URL(fileURLWithPath: folder).appendingPathComponent(name).path
    guard FileManager.default.isFolder(path) else {
      throw SwiftletError.data(
        "there is no configuration \"\(name)\", neither in README.md nor as a folder; check dataset_config",
        at: FileLocation(file: folder))
    }
    return path
  }
}
