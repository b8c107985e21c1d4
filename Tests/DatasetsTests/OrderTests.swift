import Datasets
import OrderedJSON
import Testing

/// Random orders compared with NumPy, PyTorch and datasets.
@Suite struct OrderTests {
  let golden: JSONValue

  init() throws { golden = try Goldens.load("orders.json") }

  private func cases(_ key: String) throws -> [JSONValue] { try #require(golden[key]?.array) }

  @Test func numpyWords() throws {
    for example in try cases("words") {
      let seed = try #require(example["seed"]?.string.flatMap { UInt64($0) })
      var random = NumPyRandom(seed: seed)
      let words = try #require(example["next64"]?.array)
      #expect(words.count == 5)
      for word in words { #expect(word.string == String(random.next64()), "seed \(seed)") }
    }
  }

  @Test func numpyDoubles() throws {
    var random = NumPyRandom(seed: 7)
    for value in try cases("doubles") { #expect(random.nextDouble() == value.double) }
  }

  @Test func shuffles() throws {
    for example in try cases("shuffles") {
      let count = try #require(example["n"]?.integer)
      let seed = try #require(example["seed"]?.integer)
      var random = NumPyRandom(seed: UInt64(seed))
      let isSame = random.permutation(count) == example["order"]?.integers
      #expect(isSame, "n \(count), seed \(seed)")
    }
  }

  @Test func splits() throws {
    for example in try cases("splits") {
      let count = try #require(example["n"]?.integer)
      let size = try #require(example["size"])
      let test =
        if case .integer(let rows) = size { Split.Size.rows(rows) } else { Split.Size.fraction(size.double ?? 0) }
      let seed = example["shuffle"]?.bool == true ? example["seed"]?.integer.map { UInt64($0) } : nil
      let parts = try Split(testSize: test, seed: seed, part: .train).indices(count: count)
      #expect(parts.train == example["train"]?.integers)
      #expect(parts.test == example["test"]?.integers)
    }
  }

  @Test func torchPermutations() throws {
    for example in try cases("randperm") {
      let count = try #require(example["n"]?.integer)
      let seed = try #require(example["seed"]?.integer)
      var random = TorchRandom(seed: UInt64(seed))
      let isSame = random.permutation(count) == example["order"]?.integers
      #expect(isSame, "n \(count), seed \(seed)")
    }
  }

  @Test func interleaving() throws {
    for example in try cases("mixes") {
      let sources = try #require(example["lengths"]?.integers).enumerated().map { source, count in
        InMemoryRows((0..<count).map { Row([("i", .integer(1000 * source + $0))]) }) as any RowSource
      }
      let mixing = Interleaving(
        probabilities: example["shares"]?.array?.compactMap(\.double), seed: UInt64(example["seed"]?.integer ?? 0),
        stoppingStrategy: try #require(Interleaving.StoppingStrategy(rawValue: example["stop"]?.string ?? "")))
      let rows = try mixing.interleave(sources).allRows()
      #expect(rows.compactMap { $0["i"]?.integer } == example["order"]?.integers)
    }
  }

  @Test func trainerEpochs() throws {
    for example in try cases("epochs") {
      let order = BatchOrder(
        itemCount: try #require(example["n"]?.integer), batchSize: try #require(example["batch"]?.integer),
        seed: UInt64(try #require(example["data_seed"]?.integer ?? example["seed"]?.integer)),
        dropsLast: example["drop"]?.bool == true)
      for (epoch, batches) in try #require(example["epochs"]?.array).enumerated() {
        let expected = try #require(batches.array).map { $0.integers ?? [] }
        #expect(order.steps(epoch: epoch).flatMap { $0 } == expected)
        #expect(order.batchesPerEpoch == expected.count)
      }
    }
  }

  @Test func accumulatedSteps() throws {
    for example in try cases("steps") {
      let order = BatchOrder(
        itemCount: try #require(example["n"]?.integer), batchSize: try #require(example["batch"]?.integer),
        accumulationSteps: try #require(example["accumulation"]?.integer),
        seed: UInt64(try #require(example["seed"]?.integer)))
      let epochs = try #require(example["epochs"]?.integer)
      let expected = try #require(example["steps"]?.array).map { ($0.array ?? []).map { $0.integers ?? [] } }
      #expect((0..<epochs).flatMap { order.steps(epoch: $0) } == expected)
      #expect(order.stepsPerEpoch * epochs == expected.count)
      // Resuming after any number of steps gives the same rest.
      for done in expected.indices {
        let start = order.position(after: done)
        #expect(order.steps(epoch: start.epoch, from: start.step).first == expected[done])
      }
    }
  }

  @Test func batchesOfRanks() throws {
    for example in try #require(try Goldens.load("rank_batches.json").array) {
      let ranks = try #require(example["ranks"]?.integer)
      let order = BatchOrder(
        itemCount: try #require(example["items"]?.integer), batchSize: try #require(example["batch"]?.integer),
        sampling: .sequential, dropsLast: example["drop"]?.bool == true, ranks: ranks)
      let batches = order.steps(epoch: 0).flatMap { $0 }
      for (rank, expected) in try #require(example["per"]?.array).enumerated() {
        let own = batches.indices.filter { $0 % ranks == rank }.map { batches[$0] }
        #expect(own == expected.array?.map { $0.integers ?? [] }, "\(example.text(.compact)), rank \(rank)")
        #expect(own.count == order.batchesPerEpoch)
      }
    }
  }

  @Test func accumulatedStepsOfRanks() {
    let order = BatchOrder(itemCount: 11, batchSize: 2, accumulationSteps: 2, sampling: .sequential, ranks: 2)
    #expect(order.batchesPerEpoch == 3 && order.stepsPerEpoch == 2)
    #expect(order.steps(epoch: 0).map(\.count) == [4, 2])
  }

  @Test func repeatedBatches() {
    let order = BatchOrder(
      itemCount: 7, batchSize: 2, accumulationSteps: 3, sampling: .sequential, dropsLast: true, repeats: 4)
    #expect(order.batchesPerEpoch == 12 && order.stepsPerEpoch == 4)
    let batches = (0..<3).flatMap { start in (0..<4).map { _ in [2 * start, 2 * start + 1] } }
    #expect(order.steps(epoch: 0).flatMap(\.self) == batches)
    #expect(order.steps(epoch: 0, from: 2).flatMap(\.self) == Array(batches[6...]))
  }

  @Test func emptyOrders() {
    let order = BatchOrder(itemCount: 0, batchSize: 0, accumulationSteps: -3)
    #expect(order.steps(epoch: 0).isEmpty)
    #expect(order.position(after: 5) == (0, 0))
    #expect(BatchOrder(itemCount: 3, batchSize: .max, accumulationSteps: .max).steps(epoch: 1).count == 1)
  }
}
