import Datasets
import Diagnostics
import Models
import OrderedJSON
import Training

/// What a classifier or reward model says about rows.
public struct Scoring: Sendable {
  /// A scored row.
  public struct Row: Sendable, Hashable {
    /// The logit of each label, or the reward.
    public var scores: [Float]
    /// The probability of each label.
    public var probabilities: [Double] { ClassificationLoss.probabilities(scores.map(Double.init)) }
    /// The number of the most likely label.
    public var label: Int { scores.firstIndex(of: scores.max() ?? 0) ?? 0 }
  }

  /// The names of the labels.
  public let labels: [String]
  /// The rows in order.
  public let rows: [Row]
  /// Whether the only score is a reward.
  public var isReward: Bool { labels.count == 1 }
  /// The share of rows whose own label is the most likely one; `nil` if rows have no label.
  public private(set) var accuracy: Double?

  /// Scores rows with a `text`, `messages`, or a `prompt` and `completion`, encoded as in training.
  /// - Parameters:
  ///   - model: a classifier or reward model, or a base model with the adapter of one.
  ///   - source: the rows.
  ///   - maxLength: the most tokens of a row, whose end is cut off; `nil` for no limit.
  ///   - batchSize: rows per batch. The result does not depend on it.
  ///   - progress: called with the number of rows done and of all rows.
  /// - Throws: `SwiftletError` for a language model, or a row that cannot be used.
  public init(
    _ model: CausalLM, rows source: any RowSource, maxLength: Int? = 1024, batchSize: Int = 8,
    progress: (Int, Int) -> Void = { _, _ in }
  ) throws {
    let head = try model.scoringHead()
    labels = head.labels
    let tokenizer = try RowTokenizer(
      model.tokenizer, renderer: model.chatRenderer, eosToken: model.endOfSequence?.text)
    var options = PreparationOptions()
    options.maxLength = maxLength
    options.rowKind = .scoredText(endsWithEOS: head.isReward)
    let (set, report) = try Preparation(tokenizer, options: options).prepare(source)
    guard report.emptyRows == 0 else {
      let empty = (0..<source.count).first { !set.rows.contains($0) } ?? 0
      throw SwiftletError.data("the row has no text to score; filter such rows out", at: source.location(of: empty))
    }
    try Trainer.check(set, model)
    var found: [Row] = []
    for start in stride(from: 0, to: set.documentCount, by: max(1, batchSize)) {
      let ids = (start..<min(set.documentCount, start + max(1, batchSize))).compactMap { set.example($0)?.ids }
      found += try model.scores(of: ids).map { Row(scores: $0) }
      progress(found.count, set.documentCount)
    }
    rows = found
    guard !head.isReward, source.count > 0, try source.row(at: 0)[ClassLabels.column] != nil else { return }
    let known = ClassLabels(labels)
    var correct = 0
    for (index, row) in found.enumerated() {
      do throws(SwiftletError) {
        if try known.number(of: source.row(at: index)) == row.label { correct += 1 }
      } catch {
        throw error.located(at: source.location(of: index))
      }
    }
    accuracy = Double(correct) / Double(found.count)
  }

  /// The result as `swiftlet score --json` prints it.
  public var json: JSONValue {
    let list = rows.map { row -> JSONValue in
      if isReward { return ["reward": .number(Double(row.scores[0]))] }
      return [
        "label": .string(labels[row.label]),
        "probabilities": .object(JSONObject(zip(labels, row.probabilities).map { ($0, .number($1)) })),
      ]
    }
    var object = JSONObject([("rows", .array(list))])
    object["accuracy"] = accuracy.map { .number($0) }
    return .object(object)
  }
}
