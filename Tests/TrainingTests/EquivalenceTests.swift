import Datasets
import TestSupport
import Training
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing

/// Pairs of runs that must give the same result: bit for bit if only the order of work differs, otherwise up to
/// rounding.
@Suite struct EquivalenceTests {
  /// The result of a run.
  struct Outcome {
    var losses: [Double]
    var norms: [Double]
    var weights: [Float]

    init(_ trainer: Trainer) {
      losses = trainer.state.logHistory.compactMap { $0["loss"]?.double }
      norms = trainer.state.logHistory.compactMap { $0["grad_norm"]?.double }
      weights = trainer.parameters.flatMap { trainer.model.transformer.backend.floats($0.value) }
    }

    func isSame(as other: Outcome) -> Bool {
      losses == other.losses && norms == other.norms && weights == other.weights && !losses.isEmpty
    }
  }

  /// Trains the tiny Llama for a few steps: a new adapter if dropout is above 0, the reference's adapter if it is 0, or
  /// every weight if dropout is `nil`.
  static func run(
    dropout: Double? = 0, batch: Int = 8, accumulation: Int = 1, steps: Int = 5, set: TrainingSet? = nil,
    threads: Int? = nil, activationBudget: Int = .max, seed: Int = 42, on given: (any Backend)? = nil
  ) throws -> Outcome {
    let backend = given ?? threads.map { CPUBackend(threads: $0) } ?? CPUBackend.shared
    let model = try TinyModel.model(inFloat32: dropout == nil, on: backend)
    let trainer = try Trainer(
      model, adapter: TinyModel.adapter(dropout: dropout, on: model, seed: seed),
      configuration: TinyTrainer.arguments(batch: batch, accumulation: accumulation, steps: steps, seed: seed),
      trainingSet: set ?? TinyModel.rows(), activationBudget: activationBudget)
    try trainer.train()
    let outcome = Outcome(trainer)
    #expect(outcome.losses.count == steps)
    return outcome
  }

  /// Losses and gradient norms agree within a relative `tolerance`, and on average within `mean`; weights on average
  /// within `tolerance`, and each within a hundredth of the distance that the steps can move it, since AdamW's step for
  /// a gradient near zero depends on rounding.
  static func expectClose(_ a: Outcome, _ b: Outcome, tolerance: Double, mean: Double) {
    #expect(a.losses.count == b.losses.count && a.weights.count == b.weights.count)
    for (name, x, y) in [("loss", a.losses, b.losses), ("norm", a.norms, b.norms)] {
      let errors = zip(x, y).map { relativeError($0, $1) }
      #expect(errors.max() ?? .infinity < tolerance, "largest of \(name)")
      #expect(errors.reduce(0, +) / Double(errors.count) < mean, "mean of \(name)")
    }
    let differences = zip(a.weights, b.weights).map { abs(Double($0) - Double($1)) }
    let moved = 1e-3 * Double(a.losses.count)
    #expect(differences.reduce(0, +) / Double(differences.count) < tolerance * moved * 10, "mean")
    #expect(differences.max() ?? .infinity < 1e-2 * moved, "largest")
  }

  static let methods: [Double?] = [nil, 0]

  @Test(arguments: methods) func accumulationEqualsALargerBatch(_ dropout: Double?) throws {
    let whole = try Self.run(dropout: dropout, batch: 8)
    for accumulation in [2, 8] {
      let parts = try Self.run(dropout: dropout, batch: 8 / accumulation, accumulation: accumulation)
      Self.expectClose(whole, parts, tolerance: 1e-6, mean: 3e-7)
    }
  }

  /// A prefix that all rows of a batch share is computed once; a batch of one row shares nothing.
  @Test(arguments: methods) func sharedPrefixesChangeNothing(_ dropout: Double?) throws {
    let set = try TinyModel.rows(beginning: (0..<30).map { Int32(5 + $0 * 13 % 200) })
    // The last token of the prefix predicts a token that differs between rows.
    #expect(set.sharedPrefix() == 29)
    let shared = try Self.run(dropout: dropout, batch: 8, set: set)
    let apart = try Self.run(dropout: dropout, batch: 1, accumulation: 8, set: set)
    Self.expectClose(shared, apart, tolerance: 1e-6, mean: 3e-7)
    #expect(try shared.isSame(as: Self.run(dropout: dropout, batch: 8, set: set, activationBudget: 0)))
    #expect(try shared.isSame(as: Self.run(dropout: dropout, batch: 8, set: set, threads: 3)))
  }

  @Test(arguments: [nil, 0, 0.3]) func checkpointingChangesNoBit(_ dropout: Double?) throws {
    let kept = try Self.run(dropout: dropout)
    #expect(try kept.isSame(as: Self.run(dropout: dropout, activationBudget: 0)))
    // Checkpoints some of the layers.
    #expect(try kept.isSame(as: Self.run(dropout: dropout, activationBudget: 400_000)))
  }

  @Test(arguments: [nil, 0, 0.3]) func threadsChangeNoBit(_ dropout: Double?) throws {
    let one = try Self.run(dropout: dropout, threads: 1)
    for threads in [1, 2, 3] { #expect(try one.isSame(as: Self.run(dropout: dropout, threads: threads)), "\(threads)") }
  }

  @Test func seedsChangeRuns() throws {
    let one = try Self.run(dropout: 0.3, seed: 1)
    #expect(try one.isSame(as: Self.run(dropout: 0.3, seed: 1)))
    #expect(try !one.isSame(as: Self.run(dropout: 0.3, seed: 2)))
  }

  /// Rows in a pack attend only to themselves, so a step over all packs equals a step over all rows.
  @Test(arguments: methods) func packingChangesNoLoss(_ dropout: Double?) throws {
    let rows = try TinyModel.rows()
    let packs = try TinyModel.rows(packing: .bfd, length: 64)
    #expect(packs.items.count < rows.items.count / 3)
    let apart = try Self.run(dropout: dropout, batch: rows.items.count, steps: 3, set: rows)
    let packed = try Self.run(dropout: dropout, batch: packs.items.count, steps: 3, set: packs)
    Self.expectClose(apart, packed, tolerance: 1e-6, mean: 3e-7)
  }

  /// Wrapped packs are the concatenated rows, cut at a fixed length: the same as rows with these tokens.
  @Test func wrappedPacksEqualRows() throws {
    let rows = try TinyModel.rows()
    let wrapped = try TinyModel.rows(packing: .wrapped, length: 32)
    let chunks = stride(from: 0, to: rows.ids.count, by: 32).map { start -> JSONObject in
      let range = start..<min(start + 32, rows.ids.count)
      func list(_ values: TokenArray) -> JSONValue { .array(values[range].map { .integer(Int($0)) }) }
      return JSONObject([("input_ids", list(rows.ids)), ("labels", list(rows.labels))])
    }
    let joined = try Preparation(.none).prepare(InMemoryRows(chunks)).set
    #expect(wrapped.items.count == joined.items.count)
    let packed = try Self.run(batch: 4, steps: 4, set: wrapped)
    #expect(try packed.isSame(as: Self.run(batch: 4, steps: 4, set: joined)))
  }

  @Test func evaluationDoesNotDependOnTheBatch() throws {
    let set = try TinyModel.rows()
    var found: [LossSums] = []
    for size in [1, 3, 40] {
      var arguments = TinyTrainer.arguments(batch: 1, steps: 1)
      arguments.evalBatchSize = size
      let trainer = try Trainer(
        TinyModel.model(inFloat32: true), adapter: nil, configuration: arguments, trainingSet: set)
      found.append(try trainer.evaluate(set))
    }
    for sums in found {
      #expect(sums.count == found[0].count && sums.correct == found[0].correct)
      #expect(relativeError(sums.loss, found[0].loss) < 1e-7)
    }
  }
}
