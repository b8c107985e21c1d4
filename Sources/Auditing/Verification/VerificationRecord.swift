import Checkpoints
import Diagnostics
import Essentials
import Models
import OrderedJSON
import Tensors

/// What a run knew about its result when it ended: losses on a few rows and greedy answers, or the scores of a few texts;
/// tokenizer, template and end tokens. `Verification` compares a file with it. `verification.json` holds it.
public struct VerificationRecord: Sendable, Hashable {
  /// Tokens that the loss was measured on.
  struct Row: Sendable, Hashable {
    var ids: [Int32]
    /// One label for each id, not shifted, as in `Example`.
    var labels: [Int32]
    /// The loss summed over the row's predicted tokens.
    var loss: Double
    /// The same of the base model; `nil` if every weight was trained.
    var baseLoss: Double?

    /// The number of predicted tokens.
    var targetCount: Int { labels.dropFirst().count { $0 != TokenBatch.ignoredLabel } }
  }

  /// A greedy answer to a recorded prompt.
  struct Answer: Sendable, Hashable {
    var prompt: [Int32]
    /// The generated tokens, without the stop token.
    var ids: [Int32]
    /// Whether a stop token ended it.
    var ends: Bool
  }

  /// A text and the ids that the tokenizer gives it.
  struct TokenizerSample: Sendable, Hashable {
    var text: String
    var ids: [Int32]
  }

  /// A text and what a head that scores whole sequences gives it.
  struct ScoredText: Sendable, Hashable {
    var ids: [Int32]
    /// The logit of each label, or the reward.
    var scores: [Double]
    /// The same of the base model with the trained head; `nil` if every weight was trained.
    var baseScores: [Double]?
  }

  var rows: [Row] = []
  var answers: [Answer] = []
  var texts: [ScoredText] = []
  /// The labels of a classifier or reward model, to which `texts` belong; `nil` for a language model.
  var labels: [String]?
  var tokenizer: [TokenizerSample] = []
  /// A hash of the chat template's source; `nil` without a template.
  var template: String?
  /// The id of the EOS token.
  var endOfSequence: Int32?
  /// How the base model was quantized on loading.
  public var quantization: QuantizationConfiguration?
  /// The loss on all validation rows at the end of the run.
  public var validationLoss: Double?

  /// The name of the file in the folder of a run, and the ending of the name beside a GGUF or zip file.
  public static let fileName = "verification.json"

  /// The mean loss per predicted token on the recorded rows.
  public var loss: Double { mean(\.loss) ?? 0 }
  /// The same of the base model.
  public var baseLoss: Double? { mean(\.baseLoss) }

  private func mean(_ loss: (Row) -> Double?) -> Double? {
    let losses = rows.compactMap(loss)
    let targets = rows.reduce(0) { $0 + $1.targetCount }
    return losses.count == rows.count && targets > 0 ? losses.reduce(0, +) / Double(targets) : nil
  }

  /// The record with at most this many rows or texts, and answers, for a quick check.
  package func limited(rows rowCount: Int, answers answerCount: Int) -> VerificationRecord {
    var record = self
    record.rows = Array(rows.prefix(rowCount))
    record.texts = Array(texts.prefix(rowCount))
    record.answers = Array(answers.prefix(answerCount))
    return record
  }
}

// MARK: - Files

extension VerificationRecord {
  /// The record that belongs to `url`: in a folder, or beside a file.
  public static func place(for url: URL) -> URL {
    FileManager.default.isFolder(url.path)
      ? url.appendingPathComponent(fileName) : url.appendingPathExtension(fileName)
  }

  /// Reads the record that belongs to a folder or file.
  /// - Returns: `nil` if there is none.
  /// - Throws: `SwiftletError` if the file is not such a record.
  public static func read(for url: URL) throws(SwiftletError) -> VerificationRecord? {
    let place = place(for: url)
    guard FileManager.default.fileExists(atPath: place.path) else { return nil }
    return try VerificationRecord(contentsOf: place)
  }

  /// Reads a record.
  /// - Throws: `SwiftletError` if the file is not one.
  public init(contentsOf file: URL) throws(SwiftletError) {
    let bytes = try RegularFile.contents(of: file, sizeLimit: 100_000_000, domain: .model)
    guard let json = try? JSONValue(parsing: bytes), let record = VerificationRecord(json) else {
      throw SwiftletError.model("\(file.path): this is not what a run writes; remove it, or name another with --record")
    }
    self = record
  }

  /// Writes the record that belongs to a folder or file.
  /// - Throws: `SwiftletError` if it cannot be written.
  public func write(for url: URL) throws(SwiftletError) {
    try AtomicFile.write(json.text() + "\n", to: Self.place(for: url))
  }

  var json: JSONValue {
    func list(_ ids: [Int32]) -> JSONValue { .array(ids.map { .integer(Int($0)) }) }
    var object = JSONObject()
    object["loss"] = labels == nil ? .number(loss) : nil
    object["base_loss"] = baseLoss.map { .number($0) }
    object["validation_loss"] = validationLoss.map { .number($0) }
    object["chat_template_hash"] = template.map { .string($0) } ?? .null
    object["eos_token_id"] = endOfSequence.map { .integer(Int($0)) } ?? .null
    object["quantization"] = quantization.map { quantization in
      [
        "type": .string(quantization.format.type.rawValue), "double": .bool(quantization.format.doubleQuantized),
        "skipped": quantization.skippedModules.map { .array($0.map { .string($0) }) } ?? .null,
      ]
    }
    object["tokenizer"] = .array(tokenizer.map { ["text": .string($0.text), "ids": list($0.ids)] })
    object["rows"] = .array(
      rows.map { row in
        [
          "input_ids": list(row.ids), "labels": list(row.labels), "loss": .number(row.loss),
          "base_loss": row.baseLoss.map { .number($0) } ?? .null,
        ]
      })
    object["answers"] = .array(
      answers.map { ["prompt": list($0.prompt), "ids": list($0.ids), "ends": .bool($0.ends)] })
    guard let labels else { return .object(object) }
    func numbers(_ values: [Double]) -> JSONValue { .array(values.map { .number($0) }) }
    object["labels"] = .array(labels.map { .string($0) })
    object["texts"] = .array(
      texts.map { text in
        [
          "input_ids": list(text.ids), "scores": numbers(text.scores),
          "base_scores": text.baseScores.map(numbers) ?? .null,
        ]
      })
    return .object(object)
  }

  init?(_ json: JSONValue) {
    func ids(_ value: JSONValue?) -> [Int32]? {
      guard let elements = value?.array else { return nil }
      let ids = elements.compactMap { $0.integer.flatMap { Int32(exactly: $0) } }
      return ids.count == elements.count ? ids : nil
    }
    /// What a model can read.
    func tokens(_ value: JSONValue?) -> [Int32]? {
      ids(value).flatMap { $0.isEmpty || $0.contains { $0 < 0 } ? nil : $0 }
    }
    func numbers(_ value: JSONValue?) -> [Double]? {
      guard let elements = value?.array else { return nil }
      let numbers = elements.compactMap(\.double)
      return numbers.count == elements.count ? numbers : nil
    }
    guard let rows = json["rows"]?.array, let answers = json["answers"]?.array, let samples = json["tokenizer"]?.array
    else { return nil }
    for row in rows {
      guard let input = tokens(row["input_ids"]), let labels = ids(row["labels"]), labels.count == input.count,
        labels.allSatisfy({ $0 >= 0 || $0 == TokenBatch.ignoredLabel }), let loss = row["loss"]?.double
      else { return nil }
      self.rows.append(Row(ids: input, labels: labels, loss: loss, baseLoss: row["base_loss"]?.double))
    }
    for answer in answers {
      guard let prompt = tokens(answer["prompt"]), let found = ids(answer["ids"]),
        let ends = answer["ends"]?.bool
      else { return nil }
      self.answers.append(Answer(prompt: prompt, ids: found, ends: ends))
    }
    if let names = json["labels"]?.array {
      let labels = names.compactMap(\.string)
      guard labels.count == names.count, !labels.isEmpty, let texts = json["texts"]?.array else { return nil }
      self.labels = labels
      for text in texts {
        let base = numbers(text["base_scores"])
        guard let input = tokens(text["input_ids"]), let scores = numbers(text["scores"]),
          scores.count == labels.count, base == nil || base?.count == labels.count
        else { return nil }
        self.texts.append(ScoredText(ids: input, scores: scores, baseScores: base))
      }
    }
    for sample in samples {
      guard let text = sample["text"]?.string, let found = ids(sample["ids"]) else { return nil }
      tokenizer.append(TokenizerSample(text: text, ids: found))
    }
    template = json["chat_template_hash"]?.string
    endOfSequence = json["eos_token_id"]?.integer.flatMap { Int32(exactly: $0) }
    validationLoss = json["validation_loss"]?.double
    if let section = json["quantization"], let type = section["type"]?.string.flatMap(ElementType.init(rawValue:)),
      type.isFourBitCode
    {
      quantization = QuantizationConfiguration(
        FourBitFormat(type, doubleQuantized: section["double"]?.bool ?? false),
        skippedModules: section["skipped"]?.array.map { $0.compactMap(\.string) })
    }
  }
}
