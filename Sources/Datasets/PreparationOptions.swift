/// How rows become training examples; names and defaults are those of TRL's `SFTConfig`.
public struct PreparationOptions: Sendable, Hashable, Codable {
  /// Which end of a document that is too long is kept.
  public enum Truncation: String, Sendable, CaseIterable, Codable {
    /// The start.
    case keepStart = "keep_start"
    /// The end.
    case keepEnd = "keep_end"
  }

  /// `max_length`: the most tokens of an item; `nil` for no limit.
  public var maxLength: Int? = 1024
  /// `truncation_mode`.
  public var truncation = Truncation.keepStart
  /// `completion_only_loss`: whether prompts are masked; `nil` means where a row has prompt and completion.
  public var completionOnlyLoss: Bool?
  /// `assistant_only_loss`: whether everything but the assistant's turns is masked.
  public var assistantOnlyLoss = false
  /// `dataset_text_field`: the column that holds plain text.
  public var textField = "text"
  /// `packing` and `packing_strategy`: how documents are joined; `nil` for an item a document.
  public var packing: PackingStrategy?
  /// `shuffle_dataset`: the seed of a shuffle before and after packing; `nil` for the order of the rows.
  public var shuffleSeed: UInt64?
  /// How many threads encode rows; the result does not depend on it. `nil` for as many as there are processors.
  public var threads: Int?

  /// TRL's defaults.
  public init() {}
}
