import Datasets
import Foundation
import Models
import Training

extension SFTTrainer {
  /// A trainer of `model` on a data set: prepares the rows as `config` says, and puts a fresh adapter on the model.
  ///
  /// - Parameters:
  ///   - model: what is trained, in place.
  ///   - lora: the adapter; `nil` trains every weight, for which the model has to be opened `widened`.
  ///   - config: how rows are prepared and training runs.
  ///   - dataset: rows of any form that recipes take: `text`, `prompt` and `completion`, `messages`, token ids.
  ///   - evaluationDataset: rows to evaluate on, where `config` asks for it.
  /// - Throws: `SwiftletError` for rows that cannot be used, `SwiftletError` for an adapter that does not fit, `SwiftletError`
  ///   for a configuration that cannot be honoured.
  public convenience init(
    _ model: CausalLM, lora: LoRA? = nil, config: SFTConfig = SFTConfig(), dataset: Dataset,
    evaluationDataset: Dataset? = nil
  ) throws {
    let tokenizer = try RowTokenizer(
      model.tokenizer, renderer: model.chatRenderer, eosToken: config.eosToken,
      marksAssistant: config.assistantOnlyLoss)
    func prepared(_ dataset: Dataset, forEvaluation: Bool = false) throws -> TrainingSet {
      let options = PreparationOptions(config, forEvaluation: forEvaluation)
      return try Preparation(tokenizer, options: options).prepare(dataset.rows).set
    }
    let trainingSet = try prepared(dataset)
    let evaluationSet = try evaluationDataset.map { try prepared($0, forEvaluation: true) }
    let adapter = try lora.map {
      try Adapter($0, on: model.transformer, seed: UInt64(truncatingIfNeeded: config.seed))
    }
    try self.init(
      model, adapter: adapter, arguments: config, trainingSet: trainingSet, evaluationSet: evaluationSet,
      output: URL(fileURLWithPath: config.outputDir), baseName: model.files.url.path)
  }

  /// Writes what was trained into the output folder: the adapter or the model, with the tokenizer.
  public func saveModel() throws { if let output { try saveModel(to: output) } }
}
