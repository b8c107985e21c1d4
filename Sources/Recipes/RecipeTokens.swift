import Checkpoints
import Diagnostics
import Essentials
import Models
import Tokenizers
import Training

/// What a recipe makes of the tokens of its model.
package struct RecipeTokens: Sendable {
  /// The source of the chat template; `nil` for the model's own.
  package let template: String?
  /// The tokens to add, in the order of their ids.
  package let added: [AddedToken]
  /// Whether some of them are those of the folder that the template is from.
  package let areCloned: Bool
  /// The settings of training, with the EOS token of that folder.
  package let training: TrainingConfiguration
}

extension Recipe {
  /// What the recipe makes of the tokens of its model.
  ///
  /// Like TRL's `clone_chat_template`, a model folder in `chat_template_path` brings the added tokens that the model lacks,
  /// further ones that fill the vocabulary up to a multiple of 64, and its EOS token.
  /// - Parameter tokenizer: the tokenizer of the model; evaluated only if there is such a folder.
  /// - Throws: `SwiftletError` if the template or the tokenizer can't be read, or they contradict the recipe.
  package func tokens(of tokenizer: @autoclosure () throws -> Tokenizer) throws -> RecipeTokens {
    guard let path = training.chatTemplatePath.map(locate), FileManager.default.isFolder(path) else {
      return RecipeTokens(template: try templateFile(), added: newTokens, areCloned: false, training: training)
    }
    let source = try Tokenizer(directory: URL(fileURLWithPath: path))
    guard let template = source.chatTemplateSource else {
      throw SwiftletError.training(
        "`chatTemplatePath` \(path): this model has no chat template; name another model, or a Jinja file")
    }
    let own = try tokenizer().adding(newTokens).tokenizer
    var cloned = own.lackedTokens(among: source.addedTokens)
    cloned += try own.adding(cloned).tokenizer.fillers(toMultipleOf: 64)
    var training = training
    if let end = source.specialTokens.eos?.text {
      if let given = training.eosToken, Array(given.utf8) != Array(end.utf8) {
        throw SwiftletError.training(
          "`chatTemplatePath` \(path) brings the EOS token \(end.quotedExcerpt), but `eosToken` is "
            + "\(given.quotedExcerpt); leave out `eosToken`, or name a Jinja file")
      }
      training.eosToken = end
    }
    return RecipeTokens(
      template: template, added: newTokens + cloned, areCloned: !cloned.isEmpty, training: training)
  }

  /// The recipe with the settings of these tokens. Like TRL, it trains the whole head for tokens of another model, unless the
  /// head is the embedding, whose new rows are trained.
  package func taking(_ tokens: RecipeTokens, of files: ModelFiles) -> Recipe {
    var recipe = self
    recipe.training = tokens.training
    let hasHead = !files.configuration.tiesEmbeddings && !training.method.scoresSequences
    if tokens.areCloned, hasHead, recipe.lora?.modulesToSave.contains("lm_head") == false {
      recipe.lora?.modulesToSave.append("lm_head")
    }
    return recipe
  }

  /// The chat template in the file `chatTemplatePath`; `nil` if there is no such path.
  private func templateFile() throws(SwiftletError) -> String? {
    guard let path = training.chatTemplatePath.map(locate) else { return nil }
    do throws(SwiftletError) {
      return try RegularFile.text(of: URL(fileURLWithPath: path))
    } catch {
      throw SwiftletError.training(
        "`chatTemplatePath` \(path) \(error.reason); name a Jinja file or a model folder")
    }
  }

  /// The tokens of `add_tokens` and `add_special_tokens`, in the order of their ids: special tokens follow the others.
  private var newTokens: [AddedToken] {
    training.addedTokens.map { AddedToken($0, isSpecial: false) }
      + training.addedSpecialTokens.map { AddedToken($0, isSpecial: true) }
  }
}
