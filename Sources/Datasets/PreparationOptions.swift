/// How rows become training examples: length, masking and packing. Names and defaults are those of TRL's `SFTConfig`.
public struct PreparationOptions: Sendable, Hashable {
  /// Which end of a row longer than `maxLength` is kept.
  public enum Truncation: String, Sendable, CaseIterable, Codable {
    /// Keeps the start and cuts off the end.
    case keepStart = "keep_start"
    /// Keeps the end and cuts off the start, where the prompt is.
    case keepEnd = "keep_end"
  }

  /// What each row of the dataset becomes.
  public enum RowKind: Sendable, Hashable {
    /// One sequence to predict.
    case sequence
    /// A prompt with a preferred and a rejected completion: two sequences.
    case preferencePair
    /// A prompt with a completion and a label, whether it is desirable: one sequence; or, to estimate the divergence of
    /// KTO, two: the second has another row's completion.
    case labeledCompletion(estimatesDivergence: Bool)
    /// A prompt alone, whose completions the model samples in training: one sequence without labels.
    case prompt

    /// Two sequences to score, each with the prompt if there is one: preferred and rejected. The value of both is the
    /// margin that the first should win by.
    case scoredPair
    /// A text or conversation with a label, whose number becomes the value.
    case labeledText(ClassLabels)
    /// A text or conversation to score, which is encoded as one of a pair or as one with a label.
    case scoredText(endsWithEOS: Bool)

    /// Whether tokens are predicted, rather than whole sequences scored.
    package var predictsTokens: Bool {
      switch self {
      case .sequence, .preferencePair, .labeledCompletion, .prompt: true
      case .scoredPair, .labeledText, .scoredText: false
      }
    }

    /// The number of sequences.
    package var sequences: Int {
      switch self {
      case .sequence, .prompt, .labeledText, .scoredText: 1
      case .preferencePair, .scoredPair: 2
      case .labeledCompletion(let estimatesDivergence): estimatesDivergence ? 2 : 1
      }
    }
  }

  /// What each row becomes. The method of training decides it, so it is not among the coded options.
  public var rowKind = RowKind.sequence
  /// Rows per training batch. Completions of other rows come from the same batch.
  public var itemsPerBatch = 1
  /// `max_length`: the most tokens per example or pack; `nil` for no limit.
  public var maxLength: Int? = 1024
  /// `truncation_mode`: which end of a longer row is kept.
  public var truncation = Truncation.keepStart
  /// `completion_only_loss`: whether prompts are masked. `nil` masks them in rows with a prompt and a completion.
  public var completionOnlyLoss: Bool?
  /// `assistant_only_loss`: whether everything but the assistant's tokens is masked.
  public var assistantOnlyLoss = false
  /// `dataset_text_field`: the column with plain text.
  public var textField = "text"
  /// `packing` and `packing_strategy`: how rows are packed into sequences of `maxLength` tokens; `nil` for no packing.
  public var packing: PackingStrategy?
  /// `shuffle_dataset`: the seed of a shuffle before and after packing; `nil` to keep the order of the rows.
  public var shuffleSeed: UInt64?
  /// The number of threads that encode rows, which does not affect the result; `nil` for one per processor.
  public var threads: Int?

  /// Creates options with TRL's defaults.
  public init() {}
}

extension PreparationOptions: Codable {
  private enum CodingKeys: String, CodingKey {
    case maxLength = "max_length"
    case truncation = "truncation_mode"
    case completionOnlyLoss = "completion_only_loss"
    case assistantOnlyLoss = "assistant_only_loss"
    case textField = "dataset_text_field"
    case packing = "packing_strategy"
    case shuffleSeed = "shuffle_seed"
    case threads
  }

  /// Decodes options. Missing keys have TRL's defaults; `max_length` can be null, which means no limit.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    if container.contains(.maxLength) { maxLength = try container.decodeIfPresent(Int.self, forKey: .maxLength) }
    truncation = try container.decodeIfPresent(Truncation.self, forKey: .truncation) ?? truncation
    completionOnlyLoss = try container.decodeIfPresent(Bool.self, forKey: .completionOnlyLoss)
    assistantOnlyLoss = try container.decodeIfPresent(Bool.self, forKey: .assistantOnlyLoss) ?? assistantOnlyLoss
    textField = try container.decodeIfPresent(String.self, forKey: .textField) ?? textField
    packing = try container.decodeIfPresent(PackingStrategy.self, forKey: .packing)
    shuffleSeed = try container.decodeIfPresent(UInt64.self, forKey: .shuffleSeed)
    threads = try container.decodeIfPresent(Int.self, forKey: .threads)
  }

  /// Encodes all options that are set, and `max_length` always.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(maxLength, forKey: .maxLength)
    try container.encode(truncation, forKey: .truncation)
    try container.encodeIfPresent(completionOnlyLoss, forKey: .completionOnlyLoss)
    try container.encode(assistantOnlyLoss, forKey: .assistantOnlyLoss)
    try container.encode(textField, forKey: .textField)
    try container.encodeIfPresent(packing, forKey: .packing)
    try container.encodeIfPresent(shuffleSeed, forKey: .shuffleSeed)
    try container.encodeIfPresent(threads, forKey: .threads)
  }
}
