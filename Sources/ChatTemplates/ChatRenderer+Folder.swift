import Diagnostics
import Essentials
import OrderedJSON

extension ChatRenderer {
  /// The source of the chat template in a folder, such as that of an adapter: `chat_template.jinja`, else the default
  /// template in `tokenizer_config.json`, where older versions of transformers write it.
  /// - Returns: `nil` if the folder has neither.
  /// - Throws: `SwiftletError` if `tokenizer_config.json` is not JSON.
  public static func templateSource(in folder: URL) throws(SwiftletError) -> String? {
    if let bytes = contents(of: folder.appendingPathComponent("chat_template.jinja")) {
      return String(decoding: bytes, as: UTF8.self)
    }
    let url = folder.appendingPathComponent("tokenizer_config.json")
    guard let bytes = contents(of: url) else { return nil }
    let configuration: JSONValue
    do {
      configuration = try JSONValue(parsing: bytes)
    } catch {
      throw error.relocated(to: FileLocation(file: url.path, line: error.location.line))
    }
    switch configuration["chat_template"] {
    case .string(let source): return source
    case .array(let named): return named.first { $0["name"]?.string == "default" }?["template"]?.string
    default: return nil
    }
  }

  /// The bytes of a regular file; `nil` for anything else, since opening a pipe would wait for a writer.
  private static func contents(of url: URL) -> Data? {
    var status = stat()
    guard stat(url.path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    return try? Data(contentsOf: url)
  }
}
