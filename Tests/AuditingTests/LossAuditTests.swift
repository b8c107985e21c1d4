import Auditing
import Datasets
import Foundation
import Models
import TestSupport
import Testing
import Training

@Suite struct LossAuditTests {
  /// Losses around 2 that differ by a tenth.
  private func losses(_ count: Int, _ scale: Double = 1) -> [Int: Double] {
    Dictionary(uniqueKeysWithValues: (0..<count).map { ($0, scale * (1.8 + 0.4 * Double($0 % 11) / 10)) })
  }

  @Test func knownAndSurprisingRowsAreFound() {
    var base = losses(100)
    base[7] = 0.03
    base[50] = 9
    let found = LossAudit(base: RowLosses(byRow: base)).beforeTraining()
    #expect(found.filter { $0.kind == .knownAlready }.map(\.rows) == [[7]])
    #expect(found.filter { $0.kind == .surprising }.map(\.rows) == [[50]])
    #expect(found.count == 2, "\(found.map(\.sentence))")
  }

  @Test func rowsThatTrainingFailedAreFound() {
    let base = losses(100)
    var trained = losses(100, 0.4)
    trained[3] = 3  // worse
    trained[20] = base[20].map { $0 * 0.99 }  // never learned
    trained[60] = 0.01  // memorized: its neighbor did not improve
    trained[61] = 0.01  // learned: its neighbor improved too
    let validation = (
      base: RowLosses(byRow: [0: 2, 1: 2]), trained: RowLosses(byRow: [0: 1.95, 1: 0.5])
    )
    let found = LossAudit(base: RowLosses(byRow: base)).afterTraining(
      RowLosses(byRow: trained), neighbors: [60: [0], 61: [1]], validation: validation)
    #expect(found.filter { $0.kind == .gotWorse }.map(\.rows) == [[3]])
    #expect(found.filter { $0.kind == .neverLearned }.map(\.rows) == [[20]])
    #expect(found.filter { $0.kind == .memorized }.map(\.rows) == [[60]])
    #expect(found.count == 3, "\(found.map(\.sentence))")
  }

  /// Losses of 2,000 rows, spread as those of real ones, of which a twentieth has one fault: how many are found, and what
  /// else is.
  @Test(arguments: FindingKind.ofLosses) func plantedLossesAreFound(_ kind: FindingKind) {
    var random = RowGenerator(seed: 3407).random
    func normal() -> Double {
      let (a, b) = (Double.random(in: 1e-9..<1, using: &random), Double.random(in: 0..<1, using: &random))
      return (-2 * log(a)).squareRoot() * cos(2 * .pi * b)
    }
    func share(_ range: ClosedRange<Double>) -> Double { Double.random(in: range, using: &random) }
    var (base, trained, neighbors) = ([Int: Double](), [Int: Double](), [Int: [Int]]())
    let validation = (0..<200).map { ($0, 2 * exp(0.3 * normal())) }
    // The last hundred validation rows hardly improve.
    let gains = (0..<200).map { $0 < 100 ? 0.5 + 0.1 * normal() : share(-0.05...0.1) }
    var planted = Set<Int>()
    for row in 0..<2000 {
      base[row] = 2 * exp(0.35 * normal())
      trained[row] = (base[row] ?? 0) * min(0.9, max(0.1, 0.5 + 0.1 * normal()))
      neighbors[row] = (0..<3).map { _ in Int.random(in: 0..<100, using: &random) }
      guard row % 20 == 7 else { continue }
      planted.insert(row)
      switch kind {
      case .knownAlready: base[row] = share(0.001...0.09)
      case .surprising: base[row] = share(8...14)
      case .gotWorse: trained[row] = (base[row] ?? 0) * share(1.1...1.6)
      case .neverLearned: trained[row] = (base[row] ?? 0) * share(0.95...1)
      default:
        trained[row] = (base[row] ?? 0) * share(0.02...0.15)
        neighbors[row] = (0..<3).map { _ in Int.random(in: 100..<200, using: &random) }
      }
    }
    let audit = LossAudit(base: RowLosses(byRow: base))
    var findings = audit.beforeTraining()
    if ![.knownAlready, .surprising].contains(kind) {
      let before = Dictionary(uniqueKeysWithValues: validation)
      let after = Dictionary(uniqueKeysWithValues: validation.map { ($0.0, $0.1 * (1 - gains[$0.0])) })
      findings += audit.afterTraining(
        RowLosses(byRow: trained), neighbors: neighbors,
        validation: (base: RowLosses(byRow: before), trained: RowLosses(byRow: after)))
    }
    let found = Set(findings.filter { $0.kind == kind }.flatMap(\.rows)).intersection(planted)
    let alarms = Set(findings.flatMap(\.rows)).subtracting(planted)
    #expect(found.count >= 95, "\(found.count) of \(planted.count) found")
    #expect(alarms.count <= 38, "\(alarms.count) of 1900 clean rows flagged")
  }

  @Test func aRowsLossIsThatOfItsBatch() throws {
    let model = try TinyModel.model()
    let rows: [Row] = (0..<7).map { number in
      ["input_ids": .array((0..<5 + number).map { .integer(($0 * 7 + number) % 40 + 3) })]
    }
    let losses = try RowLosses(
      model, InMemoryRows(rows), [0, 2, 5, 6, 1], tokenizer: .none, options: PreparationOptions())
    #expect(Set(losses.byRow.keys) == [0, 1, 2, 5, 6])
    for (index, loss) in losses.byRow {
      let set = try Preparation(.none, options: PreparationOptions()).prepare(InMemoryRows([rows[index]])).set
      let sums = TrainingStep.loss(set.batch(0..<1), model.transformer)
      #expect(abs(loss - sums.loss / Double(sums.count)) < 1e-4 * loss, "row \(index)")
    }
  }

  @Test func neighborsShareMostWords() {
    func row(_ text: String) -> Row { ["prompt": "Say it.", "completion": .string(text)] }
    let rows = InMemoryRows([row("the cat sat on the mat"), row("stocks fell sharply today")])
    let validation = InMemoryRows([row("stocks rose sharply today"), row("the dog sat on the mat"), row("一二三四")])
    let near = LossAudit.neighbors(
      of: [0, 1], in: rows, among: [0, 1, 2], in: validation, textField: "text", count: 1)
    #expect(near == [0: [1], 1: [0]])
  }
}
