import Datasets
import Diagnostics
import Essentials
import OrderedJSON

/// 1 if the final answer of a completion is that of its row, else 0. The row has it in its column `solution` or `answer`.
struct AccuracyReward: Reward {
  var name: String { "accuracy_reward" }

  func scores(_ completions: [SampledCompletion]) throws(SwiftletError) -> [Double?] {
    var scores: [Double?] = []
    for completion in completions {
      guard let solution = ["solution", "answer"].lazy.compactMap({ completion.row.present($0) }).first else {
        throw SwiftletError.data(
          "accuracy_reward needs a column \"solution\" or \"answer\", but the row has \(completion.row.columnList); "
            + "rename a column with rename_columns")
      }
      let expected = FinalAnswer(solution: solution.string ?? solution.text())
      let found = FinalAnswer(completion: completion.text)
      if let expected { scores.append(found == expected ? 1 : 0) } else { scores.append(nil) }
    }
    return scores
  }
}

/// The final answer in a text: in the last `\boxed{...}`, else in the last `<answer>...</answer>`, else after the last
/// `####`; in a completion, else the last number.
struct FinalAnswer: Equatable {
  private let text: String
  private let number: Double?

  /// The answer in a completion; `nil` if there is none.
  init?(completion text: String) { self.init(Self.marked(text) ?? Self.lastNumber(text) ?? "") }

  /// The answer in a solution, which is all of it if none is marked; `nil` if it is empty.
  init?(solution text: String) { self.init(Self.marked(text) ?? text) }

  private init?(_ answer: String) {
    text = Self.normalized(answer)
    guard !text.isEmpty else { return nil }
    number = Self.number(text)
  }

  /// Numbers are equal if their values are; other answers if they read the same, whatever their case and spaces.
  static func == (a: FinalAnswer, b: FinalAnswer) -> Bool {
    if let first = a.number, let second = b.number {
      return abs(first - second) <= 1e-9 * max(1, abs(first), abs(second))
    }
    return Array(a.text.utf8) == Array(b.text.utf8)
  }

  private static func marked(_ text: String) -> String? { boxed(text) ?? tagged(text) ?? afterHashes(text) }

  /// What the last `\boxed{...}` holds, whose braces may be nested.
  private static func boxed(_ text: String) -> String? {
    guard let opening = text.ranges(of: "\\boxed{").last else { return nil }
    var depth = 1
    for index in text[opening.upperBound...].indices {
      if text[index] == "{" { depth += 1 }
      if text[index] == "}" { depth -= 1 }
      if depth == 0 { return String(text[opening.upperBound..<index]) }
    }
    return nil
  }

  private static func tagged(_ text: String) -> String? {
    guard let opening = text.ranges(of: "<answer>").last else { return nil }
    let rest = text[opening.upperBound...]
    return rest.firstRange(of: "</answer>").map { String(rest[..<$0.lowerBound]) }
  }

  private static func afterHashes(_ text: String) -> String? {
    text.ranges(of: "####").last.map { String(text[$0.upperBound...].prefix { !$0.isNewline }) }
  }

  /// The last number, such as `-1,250.5` or `3/4`.
  private static func lastNumber(_ text: String) -> String? {
    var last: Substring?
    var rest = Substring(text)
    while let start = rest.firstIndex(where: \.isASCIIDigit) {
      let tail = rest[start...].prefix { $0.isASCIIDigit || ".,/".contains($0) }
      var number = tail
      while let end = number.last, !end.isASCIIDigit { number.removeLast() }
      let isNegative = start > rest.startIndex && rest[rest.index(before: start)] == "-"
      last = isNegative ? rest[rest.index(before: start)..<number.endIndex] : number
      rest = rest[tail.endIndex...]
    }
    return last.map(String.init)
  }

  private static func normalized(_ text: String) -> String {
    String(text.lowercased().filter { !$0.isWhitespace && !"$\\".contains($0) }.trimmingSuffix { ".%".contains($0) })
  }

  /// The value of a number, with commas between thousands, or of a fraction.
  private static func number(_ text: String) -> Double? {
    let sides = text.replacing(",", with: "").split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    let values = sides.map { Double($0) }
    switch (values.count, values.first ?? nil, values.last ?? nil) {
    case (1, let value?, _): return value.isFinite ? value : nil
    case (2, let above?, let below?) where below != 0: return above / below
    default: return nil
    }
  }
}

extension Character {
  fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}

extension String {
  /// The text without the characters at its end that `isUnwanted` accepts.
  fileprivate func trimmingSuffix(while isUnwanted: (Character) -> Bool) -> Substring {
    var text = self[...]
    while let last = text.last, isUnwanted(last) { text.removeLast() }
    return text
  }
}
