import Datasets
import Diagnostics

/// What many rows of a set have in common, learned from a sample.
struct SetProfile: Sendable {
  /// The units that are in at least a tenth of the prompts: mostly function words of the language.
  private(set) var promptUnits: Set<UInt64> = []
  /// The same of the answers.
  private(set) var answerUnits: Set<UInt64> = []
  /// The shingles that are in at least a tenth of the rows: templates, system messages and set phrases. They say
  /// nothing about whether two rows are duplicates.
  private(set) var shingles: Set<UInt64> = []

  /// The maximum number of rows to sample. A share of a tenth is then known to within 0.7%.
  private static let sampleSize = 2000

  /// Samples a set evenly. Rows that cannot be used are skipped.
  init(_ rows: any RowSource, textField: String) {
    let count = min(rows.count, Self.sampleSize)
    let chunks = Parallel.map(0..<(count + 63) / 64) { chunk in
      var counts = Counts()
      for number in chunk * 64..<min(count, chunk * 64 + 64) {
        let index = number * rows.count / count
        if let text = try? RowText(rows.row(at: index), textField: textField), !text.isTokens { counts.add(text) }
      }
      return counts
    }
    let all = chunks.reduce(into: Counts()) { $0.add($1) }
    // In a small set, four rows may share a phrase by chance.
    let least = max(5, all.rows / 10)
    func frequent(_ counts: [UInt64: Int]) -> Set<UInt64> { Set(counts.lazy.filter { $0.value >= least }.map(\.key)) }
    promptUnits = frequent(all.prompts)
    answerUnits = frequent(all.answers)
    shingles = frequent(all.shingles)
  }

  /// The number of rows that each unit and shingle is in.
  private struct Counts {
    var rows = 0
    var prompts: [UInt64: Int] = [:]
    var answers: [UInt64: Int] = [:]
    var shingles: [UInt64: Int] = [:]

    mutating func add(_ text: RowText) {
      rows += 1
      let (prompt, answer) = (TextUnits(text.prompt), TextUnits(text.answer))
      for unit in Set(prompt.hashes) { prompts[unit, default: 0] += 1 }
      for unit in Set(answer.hashes) { answers[unit, default: 0] += 1 }
      for shingle in Set(prompt.shingles + answer.shingles) { shingles[shingle, default: 0] += 1 }
    }

    mutating func add(_ other: Counts) {
      rows += other.rows
      prompts.merge(other.prompts, uniquingKeysWith: +)
      answers.merge(other.answers, uniquingKeysWith: +)
      shingles.merge(other.shingles, uniquingKeysWith: +)
    }
  }

  /// The shingles of a row that are its own.
  func ownShingles(_ text: RowText) -> [UInt64] {
    [text.prompt, text.answer, text.rejected ?? ""].flatMap { TextUnits($0).shingles }.filter { !shingles.contains($0) }
  }
}
