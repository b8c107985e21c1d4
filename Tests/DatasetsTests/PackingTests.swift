import Datasets
import OrderedJSON
import Testing
import Tensors

@Suite struct PackingTests {
  /// Documents with consecutive ids from 0, as in the golden script.
  private func set(lengths: [Int]) -> TrainingSet {
    var set = TrainingSet()
    var total: Int32 = 0
    for (row, length) in lengths.enumerated() {
      let ids = Array(total..<total + Int32(length))
      set.append(Example(ids: ids, labels: ids.map { ($0 + Int32(row)) % 3 == 0 ? -100 : $0 }, row: row))
      total += Int32(length)
    }
    return set
  }

  @Test func matchesTRL() throws {
    for example in try #require(try Goldens.load("packing.json").array) {
      let strategy = try #require(PackingStrategy(rawValue: example["strategy"]?.string ?? ""))
      let length = try #require(example["length"]?.integer)
      let packed = set(lengths: try #require(example["lengths"]?.integers)).packed(strategy, length: length)
      let expected = try #require(example["items"]?.array).map { item in
        (item.array ?? []).map { $0.integers ?? [] }
      }
      #expect(packed.items.map { $0.map { [$0.lowerBound, $0.upperBound] } } == expected, "\(strategy), \(length)")
    }
  }

  @Test func batchesOfPackedItems() {
    let packed = set(lengths: [5, 2, 3, 1]).packed(.bfd, length: 4)
    let batch = packed.batch(0..<packed.items.count)
    #expect(batch.ids == [0, 1, 2, 3, 7, 8, 9, 10, 5, 6])
    #expect(batch.positions == [0, 1, 2, 3, 0, 1, 2, 0, 0, 1])
    #expect(batch.sequenceStarts == [0, 4, 7, 8, 10])
    // The labels of row r are masked where id + r is a multiple of 3. Targets are the labels shifted by one in a
    // sequence.
    #expect(batch.targets == [1, 2, -100, -100, 8, 9, -100, -100, 6, -100])
    #expect(batch.rows == [0, 2, 3, 1])
    #expect(batch.targetCount == 5)
    #expect(batch.longestSequence == 4)
  }

  @Test func wrappedPacksContinueAcrossDocuments() {
    let packed = set(lengths: [5, 2, 3, 1]).packed(.wrapped, length: 4)
    let batch = packed.batch([1])
    #expect(batch.ids == [4, 5, 6, 7])
    #expect(batch.positions == [0, 1, 2, 3])
    #expect(batch.sequenceStarts == [0, 4])
    #expect(batch.rows == [0, 1, 2])
  }

  @Test func packingOrder() {
    let documents = set(lengths: [5, 2, 3, 1])
    let packed = documents.packed(.wrapped, length: 4, order: [2, 3, 0, 1])
    // Documents 2 and 3 are adjacent, so they form one piece; 0 and 1 follow.
    #expect(packed.items == [[7..<11], [0..<4], [4..<7]])
    let apart = documents.packed(.wrapped, length: 4, order: [3, 1, 0, 2])
    #expect(apart.items == [[10..<11, 5..<7, 0..<1], [1..<5], [7..<10]])
    let batch = apart.batch([0])
    #expect(batch.ids == [10, 5, 6, 0])
    #expect(batch.positions == [0, 1, 2, 3])
    #expect(batch.sequenceStarts == [0, 4])
    #expect(batch.targets == [-100, 6, -100, -100])
    #expect(batch.rows == [3, 1, 0])
    #expect(documents.packed(.bfd, length: 4, order: [3, 1, 2, 0]).items == [[0..<4], [7..<10, 10..<11], [5..<7]])
  }

  @Test func extremeLengths() {
    #expect(set(lengths: [3, 4]).packed(.bfd, length: .max).items.count == 1)
    #expect(set(lengths: [3, 4]).packed(.wrapped, length: .max).items == [[0..<7]])
    #expect(set(lengths: []).packed(.bfdSplit, length: 8).items.isEmpty)
    #expect(set(lengths: [3]).packed(.bfd, length: 0).items == [[0..<3]])
    #expect(TrainingSet().batch([0, -1, 7]) == TokenBatch())
  }
}
