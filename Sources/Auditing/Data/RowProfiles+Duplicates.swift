import Datasets

extension RowProfiles {
  /// Groups of training rows with the same content.
  func exactDuplicates() -> [Finding] {
    groups(\.content).map { rows in Finding(.exactDuplicate, rows: rows, "prompt and answer are the same") }
  }

  /// Groups of training rows with the same prompt and different answers.
  func conflictingAnswers() -> [Finding] {
    groups(\.promptHash).compactMap { rows in
      // A prompt that many rows share is an instruction without its input, and answers to it must differ.
      guard !training[rows[0]].faults.contains(.emptyPrompt), rows.count <= max(5, training.count / 20) else {
        return nil
      }
      var contents = Set<UInt64>()
      let distinct = rows.filter { contents.insert(training[$0].content).inserted }
      guard distinct.count > 1 else { return nil }
      return Finding(.conflictingAnswers, rows: distinct, "the prompts are the same, the answers differ")
    }
  }

  /// Training rows with an equal hash: the groups of at least two, each ascending.
  private func groups(_ hash: KeyPath<RowProfile, UInt64>) -> [[Int]] {
    let hashed = training.enumerated().map { (hash: $1[keyPath: hash], index: $0) }.filter { $0.hash != 0 }
    let sorted = hashed.sorted { ($0.hash, $0.index) < ($1.hash, $1.index) }
    var groups: [[Int]] = []
    var start = 0
    while start < sorted.count {
      let end = sorted[start...].firstIndex { $0.hash != sorted[start].hash } ?? sorted.count
      if end - start > 1 { groups.append(sorted[start..<end].map(\.index)) }
      start = end
    }
    return groups
  }

  /// Near duplicates among the training rows, and training rows that are also in the validation set.
  func similarRows(atLeast similarity: Double) -> [Finding] {
    let trainingCount = training.count
    // The estimate's standard deviation is at most 1/16; the texts decide.
    let candidates = signatures.candidates(estimate: similarity - 0.2) { [numbers = signatures.numbers] a, b in
      numbers[a] < trainingCount || numbers[b] < trainingCount
    }
    let similar = verified(candidates.map { (signatures.numbers[$0], signatures.numbers[$1]) }, similarity)
    var duplicates = ConnectedGroups()
    var leaks = exactLeaks()
    for (a, b, value) in similar {
      if b < trainingCount {
        duplicates.connect(a, b)
      } else if leaks[a] == nil {
        let percent = Int((value * 100).rounded())
        leaks[a] = Finding(
          .inValidation, rows: [a], validationRows: [b - trainingCount], focus: .prompt,
          "validation row \(b - trainingCount + 1) is \(percent)% alike")
      }
    }
    return leaks.values
      + duplicates.groups().map { Finding(.nearDuplicate, rows: $0, "the texts are almost the same") }
  }

  /// Training rows whose content or prompt is that of a validation row, by their index.
  private func exactLeaks() -> [Int: Finding] {
    func first(_ hash: KeyPath<RowProfile, UInt64>) -> [UInt64: Int] {
      Dictionary(validation.enumerated().map { ($1[keyPath: hash], $0) }, uniquingKeysWith: { first, _ in first })
    }
    let (contents, prompts) = (first(\.content), first(\.promptHash))
    var uses: [UInt64: Int] = [:]
    for row in training where prompts[row.promptHash] != nil { uses[row.promptHash, default: 0] += 1 }
    var leaks: [Int: Finding] = [:]
    for (index, row) in training.enumerated() where row.content != 0 {
      if let other = contents[row.content] {
        leaks[index] = Finding(
          .inValidation, rows: [index], validationRows: [other], focus: .prompt,
          "validation row \(other + 1) is the same")
      } else if let other = prompts[row.promptHash], !row.faults.contains(.emptyPrompt), uses[row.promptHash] ?? 0 <= 5
      {
        leaks[index] = Finding(
          .inValidation, rows: [index], validationRows: [other], focus: .prompt,
          "validation row \(other + 1) has the same prompt")
      }
    }
    return leaks
  }

  /// The pairs whose texts are similar enough, and how similar they are.
  private func verified(_ pairs: [(Int, Int)], _ similarity: Double) -> [(Int, Int, Double)] {
    let chunkSize = 64
    return Parallel.map(0..<(pairs.count + chunkSize - 1) / chunkSize) { chunk in
      // Pairs are sorted, so that those of one row follow one another.
      var last: (number: Int, shingles: Set<UInt64>)?
      var found: [(Int, Int, Double)] = []
      for (a, b) in pairs[chunk * chunkSize..<min(pairs.count, (chunk + 1) * chunkSize)] {
        if last?.number != a { last = (a, shingles(of: a)) }
        let value = jaccardSimilarity(last?.shingles ?? [], shingles(of: b))
        if value >= similarity { found.append((a, b, value)) }
      }
      return found
    }.flatMap(\.self)
  }

  private func shingles(of number: Int) -> Set<UInt64> { text(of: number).map { Set(set.ownShingles($0)) } ?? [] }
}
