import Diagnostics
import Foundation
import Tokenizers
import Training

extension Recipe {
  /// The source of the chat template that `chat_template_path` names: a Jinja file, or a model folder's own.
  /// - Returns: `nil` without that key; the model's own template counts then.
  /// - Throws: `SwiftletError` for a path that cannot be read, `SwiftletError` for a broken model folder.
  public func chatTemplate() throws -> String? {
    guard let path = training.chatTemplatePath.map(locate) else { return nil }
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
      guard let source = try Tokenizer(directory: URL(fileURLWithPath: path)).chatTemplateSource else {
        throw SwiftletError.training(
          "chat_template_path \(path): this model has no chat template; name another, or a Jinja file")
      }
      return source
    }
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw SwiftletError.training("chat_template_path \(path) cannot be read; name a Jinja file or a model folder")
    }
    return text
  }
}
