import Essentials

extension RowProfiles {
  /// A value is unusual if at most this share of the rows has it.
  private static let unusual = 0.1

  /// Rows that differ from most others.
  func differences() -> [Finding] {
    let usable = training.indices.filter { !training[$0].faults.contains(.unreadable) && training[$0].content != 0 }
    // Too few rows have no majority.
    guard usable.count >= 20 else { return training.indices.compactMap { brokenEnd($0) ?? brokenThinking($0) } }
    return languages(usable, \.answer, "answer") + languages(usable, \.prompt, "prompt") + formats(usable)
      + lengths(usable) + endings(usable) + thinkingBlocks(usable)
  }

  // MARK: Language

  private func languages(_ rows: [Int], _ side: KeyPath<RowProfile, RowProfile.Side>, _ name: String) -> [Finding] {
    let focus: Finding.Focus = name == "prompt" ? .prompt : .answerStart
    let written = rows.filter { index in
      training[index][keyPath: side].words >= 3
        && (name == "prompt" || training[index].format != .json && training[index].format != .code)
    }
    var scripts = Shares<Script>()
    for index in written { scripts.add(training[index][keyPath: side].script) }
    var found: [Finding] = []
    var rest: [Int] = []
    for index in written {
      let script = training[index][keyPath: side].script
      if scripts[script] <= Self.unusual {
        found.append(
          Finding(.otherLanguage, rows: [index], focus: focus, "the \(name) is in \(script.name), unlike the others"))
      } else {
        rest.append(index)
      }
    }
    for index in unfamiliar(rest, side) {
      found.append(
        Finding(
          .otherLanguage, rows: [index], focus: focus, "the \(name) has hardly a word that is common in the others"))
    }
    return found
  }

  /// Rows with far fewer of the set's common units than their length suggests.
  private func unfamiliar(_ rows: [Int], _ side: KeyPath<RowProfile, RowProfile.Side>) -> [Int] {
    let long = rows.filter { training[$0][keyPath: side].units >= 6 }
    func share(_ index: Int) -> Double {
      let side = training[index][keyPath: side]
      return Double(side.commonUnits) / Double(side.units)
    }
    guard let median = RobustScale(long.map(share), least: 0.01)?.median, median >= 0.1 else { return [] }
    // Every word of a set with a small vocabulary is common.
    let usual = min(median, 0.95)
    /// The deviation from a binomial distribution, in its standard deviations.
    func score(_ index: Int) -> Double {
      let units = Double(training[index][keyPath: side].units)
      return (share(index) - usual) * (units / (usual * (1 - usual))).squareRoot()
    }
    guard let scale = RobustScale(long.map(score), least: 1) else { return [] }
    return long.filter { share($0) < usual / 3 && scale.score(score($0)) < -3.5 }
  }

  // MARK: Format

  private func formats(_ rows: [Int]) -> [Finding] {
    var shares = Shares<AnswerFormat>()
    let answered = rows.filter { !training[$0].faults.contains(.emptyAnswer) && training[$0].ending != .broken }
    for index in answered { shares.add(training[index].format) }
    // A twentieth of lists among prose is common in good sets, a tenth even more so.
    guard let usual = shares.dominant(0.9) else { return [] }
    return answered.compactMap { index in
      let format = training[index].format
      guard format != usual, shares[format] <= 0.06 else { return nil }
      return Finding(.otherFormat, rows: [index], "the answer is \(format.name), but most are \(usual.name)")
    }
  }

  // MARK: Length

  private func lengths(_ rows: [Int]) -> [Finding] {
    lengths(rows, \.answer, "answer") + lengths(rows, \.prompt, "prompt")
  }

  private func lengths(_ rows: [Int], _ side: KeyPath<RowProfile, RowProfile.Side>, _ name: String) -> [Finding] {
    let filled = rows.filter { training[$0][keyPath: side].units > 0 }
    // Ratios count, not differences; and those of a few words hardly.
    func size(_ index: Int) -> Double { log(Double(training[index][keyPath: side].units) + 4) }
    guard let scale = RobustScale(filled.map(size), least: 0.25) else { return [] }
    let usual = Int((exp(scale.median) - 4).rounded())
    return filled.compactMap { index in
      guard abs(scale.score(size(index))) > 4.5 else { return nil }
      let units = training[index][keyPath: side].units
      return Finding(
        .outlierLength, rows: [index], focus: name == "prompt" ? .prompt : .answerStart,
        "the \(name) has \(units) words or characters; the median is \(usual)")
    }
  }

  // MARK: Ends

  private func brokenEnd(_ index: Int) -> Finding? {
    guard training[index].ending == .broken else { return nil }
    return Finding(.truncated, rows: [index], focus: .answerEnd, "the answer ends inside a code block or JSON")
  }

  private func endings(_ rows: [Int]) -> [Finding] {
    let prose = rows.filter { training[$0].format == .prose && training[$0].answer.units >= 6 }
    let open = prose.filter { training[$0].ending == .open }
    var found = rows.compactMap(brokenEnd)
    // Where many answers have no punctuation at the end, its lack means nothing.
    if Double(open.count) <= Self.unusual * Double(prose.count) {
      found += open.map { Finding(.truncated, rows: [$0], focus: .answerEnd, "the answer ends in mid-sentence") }
    }
    return found
  }

  // MARK: Thinking

  private func brokenThinking(_ index: Int) -> Finding? {
    let blocks = training[index].thinking
    guard blocks == .doubled || blocks == .unclosed else { return nil }
    return Finding(.thinking, rows: [index], "the answer has \(blocks.description)")
  }

  private func thinkingBlocks(_ rows: [Int]) -> [Finding] {
    var shares = Shares<ThinkingBlocks>()
    for index in rows { shares.add(training[index].thinking) }
    let usual = shares.dominant(0.8)
    return rows.compactMap { index in
      let blocks = training[index].thinking
      if let broken = brokenThinking(index) { return blocks == usual ? nil : broken }
      guard let usual, blocks != usual, shares[blocks] <= Self.unusual else { return nil }
      return Finding(
        .thinking, rows: [index], "the answer has \(blocks.description), but most have \(usual.description)")
    }
  }
}
