import OrderedJSON
import Training

/// One key of a recipe: its name, type, default and meaning, and what happens to its value.
public struct RecipeKey: Sendable {
  /// The name, as TRL, transformers, PEFT or bitsandbytes spell it.
  public let name: String
  /// The section of the documentation that lists it.
  public let section: Section
  /// What a value must be, such as "an integer".
  public let expectation: String
  /// The value if the recipe has none; of keys whose default depends on the method, that of `sft`.
  public let defaultValue: JSONValue
  /// What it does, or why it has no effect or is not supported.
  public let meaning: String
  /// What happens to a value.
  public let status: Status

  /// What happens to a value.
  public enum Status: Sendable, Hashable {
    /// It does what it says.
    case honored
    /// Any value is accepted because it cannot change the result. `meaning` says why, and a note tells the user.
    case withoutEffect
    /// Only values that turn it off are accepted. `meaning` says why.
    case refused
  }

  /// A section of the page Documentation/RecipeKeys.md; raw values are its headings.
  public enum Section: String, Sendable, CaseIterable {
    /// The base model and how it is loaded.
    case model = "Model"
    /// Keys for QLoRA, with the names of bitsandbytes' configuration.
    case quantization = "4-bit weights"
    /// Keys of PEFT's `LoraConfig`.
    case lora = "LoRA"
    /// The rows, the steps that prepare them, and the questions.
    case data = "Data"
    /// Sequence lengths and special tokens.
    case tokens = "Tokens"
    /// Packing, and which tokens are trained on.
    case sft = "Supervised fine-tuning (sft)"
    /// What the methods that train on preferences have in common.
    case preferences = "Preference training (dpo, orpo, cpo, kto, reward)"
    /// The model that a preference method compares with.
    case reference = "Reference model (dpo, kto, grpo)"
    /// Keys of TRL's `DPOConfig`.
    case dpo = "Direct preference optimization (dpo)"
    /// Keys of TRL's `ORPOConfig`.
    case orpo = "Odds ratio preference optimization (orpo)"
    /// Keys of TRL's `CPOConfig`.
    case cpo = "Contrastive preference optimization and SimPO (cpo)"
    /// Keys of TRL's `KTOConfig`.
    case kto = "Kahneman-Tversky optimization (kto)"
    /// Keys of TRL's `GRPOConfig`, and of its script's arguments.
    case grpo = "Group relative policy optimization (grpo)"
    /// Keys of TRL's `RewardConfig`.
    case reward = "Reward modeling (reward)"
    /// The labels of a classifier, with the names of transformers' configuration.
    case classify = "Sequence classification (classify)"
    /// Batches, the optimizer, the schedule and the device.
    case optimization = "Optimization"
    /// What is written during a run, and when.
    case reports = "Logs, evaluation and checkpoints"
    /// Keys that belong to none of these sections.
    case other = "Everything else"
  }

  /// The value if a recipe for `method` has none.
  public func defaultValue(for method: TrainingMethod.Name) -> JSONValue {
    value?(RecipeDraft(method)) ?? defaultValue
  }

  /// Writes a value into the draft of a recipe.
  let apply: @Sendable (RecipeValue, inout RecipeDraft) throws(RecipeValueError) -> Void
  /// Reads the value from a draft; `nil` for keys that are not honored.
  let value: (@Sendable (RecipeDraft) -> JSONValue)?
}

/// A condition on a value, and how messages describe it.
struct RecipeBound<Value: Sendable>: Sendable {
  let expectation: String
  let holds: @Sendable (Value) -> Bool

  /// No bound.
  static var any: RecipeBound { RecipeBound(expectation: "") { _ in true } }
}

extension RecipeBound where Value: Comparable & CustomStringConvertible {
  static func atLeast(_ low: Value) -> RecipeBound { RecipeBound(expectation: "at least \(low)") { $0 >= low } }
  static func above(_ low: Value) -> RecipeBound { RecipeBound(expectation: "above \(low)") { $0 > low } }
  static func within(_ range: ClosedRange<Value>) -> RecipeBound {
    RecipeBound(expectation: "from \(range.lowerBound) to \(range.upperBound)") { range.contains($0) }
  }
  static func within(_ range: Range<Value>) -> RecipeBound {
    RecipeBound(expectation: "from \(range.lowerBound) to below \(range.upperBound)") { range.contains($0) }
  }
}

extension RecipeBound {
  /// The same condition on a value that may be null.
  static func orNull<Wrapped: Sendable>(_ bound: RecipeBound<Wrapped>) -> RecipeBound where Value == Wrapped? {
    RecipeBound(expectation: "\(bound.expectation), or null") { $0.map(bound.holds) ?? true }
  }
}

extension RecipeKey {
  /// A key that is honored for any value of its type.
  static func honored<Value: RecipeConvertible>(
    _ name: String, _ section: Section, _ property: WritableKeyPath<RecipeDraft, Value> & Sendable, _ meaning: String
  ) -> RecipeKey {
    honored(name, section, property, .any, meaning)
  }

  /// A key that is honored. Its type and default are those of the property that it sets.
  static func honored<Value: RecipeConvertible>(
    _ name: String, _ section: Section, _ property: WritableKeyPath<RecipeDraft, Value> & Sendable,
    _ bound: RecipeBound<Value>, _ meaning: String
  ) -> RecipeKey {
    RecipeKey(
      name: name, section: section, expectation: Value.expectation, defaultValue: RecipeDraft()[keyPath: property].json,
      meaning: meaning, status: .honored,
      apply: { (value, draft) throws(RecipeValueError) in
        let converted = try Value(value)
        guard bound.holds(converted) else { throw .mismatch(value, expected: bound.expectation) }
        draft[keyPath: property] = converted
      },
      value: { $0[keyPath: property].json })
  }

  /// A key whose values cannot change the result.
  static func withoutEffect(_ name: String, _ section: Section, _ meaning: String) -> RecipeKey {
    RecipeKey(
      name: name, section: section, expectation: "anything", defaultValue: .null, meaning: meaning,
      status: .withoutEffect, apply: { _, _ in }, value: nil)
  }

  /// A key that is not supported, except for null and `harmless` values.
  static func refused(
    _ name: String, _ section: Section, harmless: [String] = ["false", "no", ""], _ meaning: String
  ) -> RecipeKey {
    RecipeKey(
      name: name, section: section, expectation: "null", defaultValue: .null, meaning: meaning, status: .refused,
      apply: { (value, _) throws(RecipeValueError) in
        guard value.asksForNothing(harmless) else {
          throw RecipeValueError(reason: "is not supported: \(meaning)")
        }
      },
      value: nil)
  }
}

extension RecipeValue {
  /// Whether this is null, empty, or made of `harmless` words only.
  fileprivate func asksForNothing(_ harmless: [String]) -> Bool {
    switch self {
    case .scalar(let text, _): isNull || harmless.contains(text.lowercased())
    case .list(let elements): elements.allSatisfy { $0.asksForNothing(harmless) }
    case .mapping(let members): members.isEmpty
    }
  }
}
