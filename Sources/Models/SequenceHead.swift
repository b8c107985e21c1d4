import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// The head of a sequence classifier or reward model: transformers' `score`, which takes the place of the language
/// model head. It scores the hidden state of a sequence's last token, not counting padding.
public struct SequenceHead {
  /// The matrix `[labels, hidden]`, in float32.
  public let weight: Parameter
  /// The names of the labels; of a reward model, whose only score is the reward, transformers' default name.
  public let labels: [String]
  /// The padding token. As in transformers, the scored token is the last one that isn't this, even where a text itself
  /// ends with it.
  public var padding: Int32?

  /// The name of the weight in model files.
  static let weightName = "score.weight"
  /// The file with the names of the labels in the folder of an adapter, whose configuration has no place for them.
  static let labelsFileName = "labels.json"

  /// The names that transformers gives labels without names.
  public static func defaultLabels(_ count: Int) -> [String] { (0..<count).map { "LABEL_\($0)" } }

  /// Whether the only score is a reward rather than that of a class.
  public var isReward: Bool { labels.count == 1 }

  /// The token of a sequence that is scored.
  func scoredToken(of ids: some BidirectionalCollection<Int32>) -> Int? {
    ids.lastIndex { $0 != padding }.map { ids.distance(from: ids.startIndex, to: $0) }
  }

  /// `id2label` and `label2id`, as in config.json.
  static func json(labels: [String]) -> [(String, JSONValue)] {
    let numbered = labels.enumerated()
    return [
      ("id2label", .object(JSONObject(numbered.map { (String($0.offset), .string($0.element)) }))),
      ("label2id", .object(JSONObject(numbered.map { ($0.element, .integer($0.offset)) }))),
    ]
  }

  /// The labels that `id2label` names; `nil` if it is missing or incomplete.
  static func labels(_ json: JSONValue) -> [String]? {
    guard let members = json["id2label"]?.object?.members, !members.isEmpty else { return nil }
    return inOrder(members.map { ($0.key, $0.value.string) })
  }

  /// Names in the order of their numbers, which are 0, 1, ...; `nil` if one is missing.
  package static func inOrder(_ members: [(number: String, name: String?)]) -> [String]? {
    var names = [String?](repeating: nil, count: members.count)
    for member in members {
      guard let index = Int(member.number), names.indices.contains(index) else { return nil }
      names[index] = member.name
    }
    let found = names.compactMap(\.self)
    return found.count == names.count ? found : nil
  }
}

extension ModelFiles {
  /// Whether config.json says that the model is a sequence classifier, which has no language model head.
  static func isSequenceClassifier(_ configuration: JSONValue) -> Bool {
    configuration["architectures"]?.array?.first?.string?.hasSuffix("ForSequenceClassification") ?? false
  }
}

extension WeightReader {
  /// The head of a sequence classifier; `nil` for a language model.
  func sequenceHead() throws(SwiftletError) -> SequenceHead? {
    guard ModelFiles.isSequenceClassifier(files.configurationJSON) else { return nil }
    let labels = SequenceHead.labels(files.configurationJSON) ?? SequenceHead.defaultLabels(2)
    let weight = try vector(SequenceHead.weightName, [labels.count, files.configuration.hiddenSize])
    let padding = files.configurationJSON["pad_token_id"]?.integer.flatMap { Int32(exactly: $0) }
    return SequenceHead(weight: weight, labels: labels, padding: padding)
  }
}

extension Transformer {
  /// Gives the model a head for these labels, with random weights; or keeps the head that it has, under these names.
  /// - Parameters:
  ///   - labels: the names of the labels; one for a reward model.
  ///   - padding: the padding token, which is never scored.
  /// - Throws: `SwiftletError` if transformers has no such model, or the present head has other labels.
  package func addSequenceHead(labels: [String], padding: Int32?, seed: UInt64) throws(SwiftletError) {
    try checkSequenceHead()
    if let head = sequenceHead {
      guard head.labels.count == labels.count else {
        throw SwiftletError.model(
          "the model has a head with \(head.labels.count) labels, but \(labels.count) are needed; begin with a "
            + "language model, or use the same labels")
      }
      sequenceHead = SequenceHead(weight: head.weight, labels: labels, padding: padding)
      return
    }
    var random = RandomSource(seed: ~seed)
    let shape = [labels.count, configuration.hiddenSize]
    // transformers' default `initializer_range`.
    let values = (0..<shape[0] * shape[1]).map { _ in 0.02 * random.normal() }
    sequenceHead = SequenceHead(
      weight: Parameter(name: SequenceHead.weightName, value: backend.tensor(values, shape)), labels: labels,
      padding: padding)
  }

  /// The weight of the head that the model ends in.
  package var activeHead: Parameter { sequenceHead?.weight ?? head }

  /// Checks that transformers has a sequence classifier of this family.
  func checkSequenceHead() throws(SwiftletError) {
    if configuration.modulePrefix != "model." {
      throw SwiftletError.model(
        "a model with a vision tower can't have a classification head; use a text-only model")
    }
    guard configuration.family.classifierName != nil else {
      throw SwiftletError.model(
        "transformers has no sequence classifier for model_type \"\(configuration.modelType)\"; use another base model")
    }
  }

  /// The rows of joined batches that the head scores: one for each sequence, in order.
  package func scoredRows(_ batches: [TokenBatch]) -> [Int32] {
    var rows: [Int32] = []
    var first = 0
    for batch in batches {
      let prefix = batch.sequenceStarts.first ?? 0
      for (start, end) in zip(batch.sequenceStarts, batch.sequenceStarts.dropFirst()) {
        let own = sequenceHead?.scoredToken(of: batch.ids[start..<end]).map { start + $0 }
        // A sequence of padding alone is scored at its first token.
        let row = own ?? sequenceHead?.scoredToken(of: batch.ids[..<prefix]) ?? (prefix > 0 ? 0 : start)
        rows.append(Int32(first + row))
      }
      first += batch.ids.count
    }
    return rows
  }
}

extension CausalLM {
  /// The padding token of the sequence head: that of config.json; with an adapter on a language model that of the
  /// tokenizer, as in training.
  var headPadding: Int32? {
    if let known = transformer.sequenceHead?.padding { return known }
    return ModelFiles.isSequenceClassifier(files.configurationJSON) ? nil : padding?.id ?? endOfSequence?.id
  }

  /// The head that scores sequences.
  /// - Throws: `SwiftletError` if the model is a language model.
  package func scoringHead() throws(SwiftletError) -> SequenceHead {
    guard let head = transformer.sequenceHead else {
      throw SwiftletError.model(
        "the model has no classification head; train one with swiftlet classify or swiftlet reward", in: files.url.path)
    }
    return head
  }

  /// The scores of whole sequences: the logits of the labels, or of a reward model the reward.
  /// - Throws: `SwiftletError` if the model is a language model, or a sequence is empty or too long.
  public func scores(of sequences: [[Int32]]) throws(SwiftletError) -> [[Float]] {
    let head = try scoringHead()
    for ids in sequences { try checkLength(ids) }
    if sequences.isEmpty { return [] }
    let padding = headPadding
    transformer.sequenceHead?.padding = padding
    let batch = TokenBatch(sequences)
    let tape = Tape(on: transformer.backend, isRecording: false)
    let hidden = transformer.hiddenStates(batch, on: tape)
    let values = tape.sequenceScores(hidden, rows: transformer.scoredRows([batch]), head: head.weight).values
    try transformer.backend.check()
    return stride(from: 0, to: values.count, by: head.labels.count).map {
      Array(values[$0..<$0 + head.labels.count])
    }
  }
}
