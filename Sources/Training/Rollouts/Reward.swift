import ChatTemplates
import Datasets
import OrderedJSON

/// A completion that the model sampled, for rewards.
public struct SampledCompletion: Sendable {
  /// The row of the dataset with the prompt, and with whatever else the reward needs.
  public var row: JSONObject
  /// The completion's text, without special tokens.
  public var text: String
  /// The tokens, with the stop token if there is one.
  public var ids: [Int32]

  /// Creates a completion.
  public init(row: JSONObject, text: String, ids: [Int32]) {
    self.row = row
    self.text = text
    self.ids = ids
  }
}

/// Judges completions. Adopt it to reward a model's completions in Swift.
public protocol Reward: Sendable {
  /// The name in logs: `rewards/NAME/mean`.
  var name: String { get }

  /// A number for each completion, higher if it is better, or `nil` if it cannot be judged.
  /// - Throws: `SwiftletError`, which ends the run.
  func scores(_ completions: [SampledCompletion]) throws -> [Double?]
}

/// The rewards that recipes can name.
package enum BuiltInReward: String, CaseIterable {
  case accuracy = "accuracy_reward"
  case thinkFormat = "think_format_reward"
  case softOverlong = "soft_overlong_punishment"
  /// As TRL's command names it, with fixed lengths.
  case fixedSoftOverlong = "get_soft_overlong_punishment"

  /// The reward, for completions of at most `maxLength` tokens.
  func reward(maxLength: Int) -> any Reward {
    switch self {
    case .accuracy: AccuracyReward()
    case .thinkFormat: ThinkFormatReward()
    case .softOverlong: SoftOverlongReward(limit: maxLength, margin: maxLength / 5)
    case .fixedSoftOverlong: SoftOverlongReward(limit: 1280, margin: 256)
    }
  }
}

/// 1 if a completion has its reasoning in `<think>` and `</think>`, else 0.
struct ThinkFormatReward: Reward {
  var name: String { "think_format_reward" }

  func scores(_ completions: [SampledCompletion]) -> [Double?] { completions.map { Self.hasFormat($0.text) ? 1 : 0 } }

  /// Whether the text begins with `<think>`, has no other, and has a `</think>` later.
  static func hasFormat(_ text: String) -> Bool {
    let opening = "<think>"
    guard text.utf8.starts(with: opening.utf8) else { return false }
    let rest = text.dropFirst(opening.count)
    return !rest.contains(opening) && rest.contains("</think>")
  }
}

/// A punishment of up to -1 for completions near or beyond a length (arXiv:2503.14476, equation 13).
struct SoftOverlongReward: Reward {
  /// The most tokens of a completion.
  let limit: Int
  /// How many tokens before the limit the punishment begins.
  let margin: Int

  var name: String { "soft_overlong_punishment_reward" }

  func scores(_ completions: [SampledCompletion]) -> [Double?] {
    completions.map { completion in
      let excess = completion.ids.count - (limit - margin)
      if excess <= 0 { return 0 }
      return completion.ids.count <= limit ? -Double(excess) / Double(margin) : -1
    }
  }
}
