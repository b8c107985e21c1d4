import Auditing
import Datasets
import Foundation
import OrderedJSON
import Testing

@Suite struct AuditTests {
  private func rows(_ count: Int, seed: UInt64 = 1, _ language: Language = .english) -> [Row] {
    var generator = RowGenerator(seed: seed)
    return (0..<count).map { _ in generator.row(language) }
  }

  @Test func cleanRowsHaveNoFindings() throws {
    for language in [Language.english, .chinese] {
      let audit = try Audit(InMemoryRows(rows(300, language)))
      #expect(audit.findings.isEmpty, "\(audit.findings.map(\.sentence))")
    }
  }

  @Test func theResultDoesNotDependOnTheOrderOfThreads() throws {
    let set = PlantedFaults(.nearDuplicate, .english)
    let first = try Audit(InMemoryRows(set.rows)).findings
    #expect(try Audit(InMemoryRows(set.rows)).findings == first)
  }

  @Test func findingsNameRowsFromOne() throws {
    var rows = rows(30)
    rows[7] = rows[2]
    let audit = try Audit(InMemoryRows(rows))
    let finding = try #require(audit.findings(of: .exactDuplicate).first)
    #expect(finding.rows == [2, 7])
    #expect(Array(finding.suspects) == [7])
    #expect(finding.sentence == "Rows 3, 8: prompt and answer are the same.")
    #expect(finding.json["rows"] == [3, 8])
    #expect(finding.json["drop"] == [8])
    #expect(audit.remainingRows(dropping: [.exactDuplicate]).count == 29)
    #expect(audit.remainingRows(dropping: [.nearDuplicate]).count == 30)
  }

  @Test func aTemplateInEveryTextIsTheFormat() throws {
    var generator = RowGenerator(seed: 2)
    var texts: [Row] = (0..<100).map { _ in
      let question = generator.question(.english)
      let answer = generator.sentences(2...4, .english)
      return [
        "text": .string("<|im_start|>user\n\(question)<|im_end|>\n<|im_start|>assistant\n\(answer)<|im_end|>\n")
      ]
    }
    let clean = try Audit(InMemoryRows(texts))
    #expect(clean.findings.isEmpty, "\(clean.findings.map(\.sentence))")
    texts[3] = ["text": .string((texts[3]["text"]?.string ?? "") + "[INST] more [/INST]")]
    #expect(try Audit(InMemoryRows(texts)).findings(of: .templateText).flatMap(\.rows) == [3])
  }

  @Test func aPromptThatManyRowsShareIsNoContradiction() throws {
    var generator = RowGenerator(seed: 4)
    let rows = (0..<100).map { _ in RowGenerator.row("Write a sentence.", generator.sentences(2...4, .english)) }
    #expect(try Audit(InMemoryRows(rows)).findings(of: .conflictingAnswers).isEmpty)
  }

  @Test func rowsBeyondMaxLengthAreTruncated() throws {
    var rows = rows(40)
    rows[5] = ["text": .string(String(repeating: "word after word. ", count: 100))]
    var preparation = PreparationOptions()
    preparation.maxLength = 1500
    var options = Audit.Options()
    let tokenizer = RowTokenizer(
      encode: { text, _ in text.utf8.map { Int32($0) } },
      encodeWithOffsets: { text in
        (text.utf8.map { Int32($0) }, text.utf8.indices.enumerated().map { i, _ in i..<i + 1 })
      },
      decode: { String(UnicodeScalar(UInt8($0))) }, isAdded: { _ in false }, eosToken: nil)
    options.preparation = (tokenizer, preparation)
    let audit = try Audit(InMemoryRows(rows), options: options)
    #expect(audit.findings(of: .truncated).map(\.rows) == [[5]])
  }

  @Test func rowsThatRemainAreWrittenOnce() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("audit-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("clean.jsonl")
    let rows = InMemoryRows(rows(3000))
    try CleanRows.write(rows, Array(stride(from: 0, to: 3000, by: 2)), to: file)
    let read = try DataFile.open(file.path)
    #expect(read.count == 1500)
    #expect(try read.row(at: 1400) == rows.row(at: 2800))
    #expect(throws: (any Error).self) { try CleanRows.write(rows, [0], to: file) }
    #expect(try DataFile.open(file.path).count == 1500)
    try CleanRows.write(rows, [0], to: file, overwrites: true)
    #expect(try DataFile.open(file.path).count == 1)
  }

  /// Pairs, prompts and labels are audited as what they are.
  @Test func rowsOfEveryMethodAreAudited() throws {
    func audit(_ rows: [Row], _ kind: PreparationOptions.RowKind) throws -> [Finding] {
      var options = Audit.Options()
      options.expectsOneAnswer = AuditedRows.expectOneAnswer(kind)
      return try Audit(AuditedRows.of(InMemoryRows(rows), kind, textField: "text"), options: options).findings
    }
    let sources = rows(200)
    func pair(_ index: Int, rejected: Int) -> Row {
      [
        "prompt": .string(sources[index].text(0)), "chosen": .string(sources[index].text(1)),
        "rejected": .string(sources[rejected].text(1)),
      ]
    }
    var pairs = (0..<100).map { pair($0, rejected: 100 + $0) }
    for kind in [PreparationOptions.RowKind.preferencePair, .scoredPair] { #expect(try audit(pairs, kind).isEmpty) }
    // The same answer was chosen over another one.
    pairs.append(pair(3, rejected: 150))
    #expect(try audit(pairs, .preferencePair).isEmpty)
    pairs += [pairs[5], ["prompt": "Why?", "chosen": "Because it is so."]]
    pairs.append(["prompt": "Why is this so?", "chosen": "Because it is.", "rejected": " "])
    #expect(try audit(pairs, .preferencePair).map(\.kind) == [.unreadable, .empty, .exactDuplicate])

    let messages = (0..<100).map { index -> Row in
      func message(_ role: String, _ content: String) -> JSONValue {
        ["role": .string(role), "content": .string(content)]
      }
      let prompt = message("user", sources[index].text(0))
      return [
        "chosen": [prompt, message("assistant", sources[index].text(1))],
        "rejected": [prompt, message("assistant", sources[100 + index].text(1))],
      ]
    }
    #expect(try audit(messages + [messages[7]], .preferencePair).map(\.rows) == [[7, 100]])

    let prompts = sources.map { row -> Row in ["prompt": .string(row.text(0)), "answer": 3] }
    #expect(try audit(prompts + [prompts[9]], .prompt).map(\.rows) == [[9, 200]])

    let labels = sources.enumerated().map { index, row -> Row in
      ["text": .string(row.text(1)), "label": .integer(index % 3)]
    }
    let kind = PreparationOptions.RowKind.labeledText(ClassLabels(["a", "b", "c"]))
    #expect(try audit(labels, kind).isEmpty)
    let other: Row = ["text": .string(sources[4].text(1)), "label": 2]
    let found = try audit(labels + [other, ["text": "none"]], kind)
    #expect(found.map(\.kind).filter { $0 != .nearDuplicate } == [.unreadable, .conflictingAnswers], "\(found)")
  }

  @Test func anEmptySetIsAnError() {
    #expect(throws: (any Error).self) { try Audit(InMemoryRows([])) }
  }
}
