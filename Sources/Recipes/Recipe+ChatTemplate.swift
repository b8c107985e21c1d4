import Checkpoints
import Diagnostics
import Essentials
import Tokenizers
import Training

extension Recipe {
  /// The source of the chat template at `chatTemplatePath`: a Jinja file, or the template of a model folder.
  /// - Returns: `nil` if there is no such path, to use the model's own template.
  /// - Throws: `SwiftletError` if the template cannot be read.
  public func chatTemplate() throws -> String? {
    guard let path = training.chatTemplatePath.map(locate) else { return nil }
    if FileManager.default.isFolder(path) {
      guard let source = try Tokenizer(directory: URL(fileURLWithPath: path)).chatTemplateSource else {
        throw SwiftletError.training(
          "`chatTemplatePath` \(path): this model has no chat template; name another model, or a Jinja file")
      }
      return source
    }
    do throws(SwiftletError) {
      return try RegularFile.text(of: URL(fileURLWithPath: path))
    } catch {
      throw SwiftletError.training(
        "`chatTemplatePath` \(path) \(error.reason); name a Jinja file or a model folder")
    }
  }
}
