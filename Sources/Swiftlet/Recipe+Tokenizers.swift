import Datasets
import Essentials
import Hub
import Models
import Recipes
import Tokenizers

extension Recipe {
  /// A tokenizer of the recipe's model with the tokens that the recipe adds, and the same for rows.
  /// - Throws: `SwiftletError` if the recipe's template can't be read, or doesn't go with the tokenizer.
  package func tokenizers(of tokenizer: Tokenizer) throws -> (tokenizer: Tokenizer, rows: RowTokenizer) {
    let tokens = try tokens(of: tokenizer)
    let extended = try tokenizer.adding(tokens.added).tokenizer
    return (extended, try RowTokenizer(extended, template: tokens.template, tokens.training))
  }

  /// The recipe with the model that `chat_template_path` names on this machine, downloaded if it is not there yet: only its
  /// description, not its weights.
  /// - Parameter progress: called during a download.
  /// - Throws: `SwiftletError` if the download fails.
  package func locatingTemplate(progress: (@Sendable (HubProgress) -> Void)?) async throws -> Recipe {
    guard let path = training.chatTemplatePath, !FileManager.default.fileExists(atPath: locate(path)),
      BaseModelReference.isHubName(path), !["jinja", "j2"].contains(URL(fileURLWithPath: path).pathExtension)
    else { return self }
    var recipe = self
    recipe.training.chatTemplatePath =
      try await ModelLocation.find(path, files: .modelDescription, progress: progress).path
    return recipe
  }
}
