import OrderedJSON
import Reports
import Training

/// One key of a recipe: its name, type, default and meaning, and what becomes of its value.
public struct RecipeKey: Sendable {
  /// The name, as TRL, transformers, PEFT or bitsandbytes spell it.
  public let name: String
  /// The group it is documented under.
  public let section: Section
  /// What a value should be: "an integer".
  public let expectation: String
  /// The value where the recipe has none.
  public let defaultValue: JSONValue
  /// What it does, or why it does nothing.
  public let meaning: String
  /// What becomes of a value.
  public let status: Status

  /// What becomes of a value.
  public enum Status: Sendable, Hashable {
    /// It does what it says.
    case honoured
    /// Any value is accepted, since it cannot change the result here; the meaning says why, and a note tells the user.
    case withoutEffect
    /// Only values that ask for nothing are accepted; the meaning says why.
    case refused
  }

  /// A group of keys.
  public enum Section: String, Sendable, CaseIterable {
    case model = "Model"
    case quantization = "4-bit weights"
    case lora = "LoRA"
    case data = "Data"
    case tokens = "Tokens and loss"
    case optimization = "Optimization"
    case reports = "Logs, evaluation and checkpoints"
    case other = "Everything else"
  }

  /// Writes a value into the draft of a recipe.
  let apply: @Sendable (RecipeValue, inout RecipeDraft) throws(RecipeValueError) -> Void
  /// The value that a draft holds; `nil` for keys that are not honoured.
  let value: (@Sendable (RecipeDraft) -> JSONValue)?
}

/// What a recipe's keys are written into before the whole is checked.
struct RecipeDraft: Sendable {
  var model = ModelArguments()
  var data = DataArguments()
  var usesPEFT = false
  var lora = LoRAArguments()
  var training = TrainingArguments()
  var reports = ReportConfiguration()
}

/// A bound on a value, with the words that tell of it.
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
  /// The same bound on a value that may be absent.
  static func orNull<Wrapped: Sendable>(_ bound: RecipeBound<Wrapped>) -> RecipeBound where Value == Wrapped? {
    RecipeBound(expectation: "\(bound.expectation), or null") { $0.map(bound.holds) ?? true }
  }
}

extension RecipeKey {
  /// A key that does what it says, for any value of its type.
  static func honoured<Value: RecipeConvertible>(
    _ name: String, _ section: Section, _ property: WritableKeyPath<RecipeDraft, Value> & Sendable, _ meaning: String
  ) -> RecipeKey {
    honoured(name, section, property, .any, meaning)
  }

  /// A key that does what it says: its type and default are those of the property it sets.
  static func honoured<Value: RecipeConvertible>(
    _ name: String, _ section: Section, _ property: WritableKeyPath<RecipeDraft, Value> & Sendable,
    _ bound: RecipeBound<Value>, _ meaning: String
  ) -> RecipeKey {
    RecipeKey(
      name: name, section: section, expectation: Value.expectation, defaultValue: RecipeDraft()[keyPath: property].json,
      meaning: meaning, status: .honoured,
      apply: { (value, draft) throws(RecipeValueError) in
        let converted = try Value(value)
        guard bound.holds(converted) else { throw .mismatch(value, expected: bound.expectation) }
        draft[keyPath: property] = converted
      },
      value: { $0[keyPath: property].json })
  }

  /// A key whose values cannot change the result here.
  static func withoutEffect(_ name: String, _ section: Section, _ meaning: String) -> RecipeKey {
    RecipeKey(
      name: name, section: section, expectation: "anything", defaultValue: .null, meaning: meaning,
      status: .withoutEffect, apply: { _, _ in }, value: nil)
  }

  /// A key whose values would change the result in a way that does not exist here, but for null and `harmless` ones.
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
