import Datasets
import Diagnostics
import Models
import Recipes
import Tokenizers
import Training

/// The rows of a run as tokens and labels.
package struct PreparedRows {
  /// The training rows, and what preparing them found.
  package let training: Preparation.Outcome
  /// The validation rows, if there are any.
  package let validation: Preparation.Outcome?
  /// The rows that the training and the validation set were made of.
  let sources: (training: any RowSource, validation: (any RowSource)?)
  /// The number of training rows before any were dropped.
  package let trainingRowCount: Int
  /// The labels of a classifier's rows.
  package let labels: ClassLabels?

  /// Prepares the rows.
  /// - Parameters:
  ///   - tokenizer: the model's tokenizer and chat template.
  ///   - cache: where prepared rows are kept for the next run.
  ///   - progress: called with the number of prepared rows and of all rows.
  /// - Throws: `SwiftletError` for rows that cannot be used.
  package init(
    training rows: any RowSource, validation: (any RowSource)?, tokenizer: RowTokenizer,
    _ configuration: TrainingConfiguration, cache: PreparationCache? = nil,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(SwiftletError) {
    let labels = try configuration.method.labels(of: rows)
    self.labels = labels
    func prepare(_ rows: any RowSource, forValidation: Bool) throws(SwiftletError) -> Preparation.Outcome {
      var options = configuration.preparation(forValidation: forValidation)
      if let labels { options.rowKind = .labeledText(labels) }
      return try Preparation(tokenizer, options: options, cache: cache).prepare(rows) { progress($0, rows.count) }
    }
    training = try prepare(rows, forValidation: false)
    self.validation =
      if let validation { try prepare(validation, forValidation: true) } else { nil }
    sources = (rows, validation)
    trainingRowCount = rows.count
  }
}

extension TrainingMethod {
  /// The labels of the training rows of a classifier; `nil` for other methods.
  /// - Throws: `SwiftletError` for rows without labels, or with others than the settings allow.
  package func labels(of rows: any RowSource) throws(SwiftletError) -> ClassLabels? {
    guard case .classify(let settings) = self else { return nil }
    return settings.labels.isEmpty
      ? try ClassLabels(of: rows, count: settings.labelCount, namesOfNumbers: SequenceHead.defaultLabels)
      : ClassLabels(settings.labels)
  }
}

extension RowTokenizer {
  /// A tokenizer with the settings of a configuration.
  /// - Parameter template: the chat template that replaces the tokenizer's own.
  package init(
    _ tokenizer: Tokenizer, template: String?, _ configuration: TrainingConfiguration
  ) throws(SwiftletError) {
    if let token = configuration.padToken, tokenizer.id(of: token) == nil {
      throw SwiftletError.training(
        "`padToken` \"\(token)\" is not in the tokenizer's vocabulary; name a token that is")
    }
    try self.init(
      tokenizer, template: template, eosToken: configuration.eosToken, padToken: configuration.padToken,
      marksAssistant: configuration.preparation.assistantOnlyLoss)
  }
}
