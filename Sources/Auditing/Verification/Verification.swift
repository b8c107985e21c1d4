import Essentials
import Models
import OrderedJSON
import Tensors

/// Compares a model, loaded from its files, with what the run recorded.
public struct Verification: Sendable {
  /// One thing that was compared.
  public struct Check: Sendable, Hashable {
    /// What was compared.
    public let name: String
    /// What the run recorded.
    public let recorded: String
    /// What was found in the files.
    public let found: String
    /// What is wrong, as a sentence; `nil` if nothing is.
    public let problem: String?
  }

  /// The comparisons in the order in which they were made.
  public private(set) var checks: [Check] = []
  /// What is wrong, a sentence each; empty if the files hold what was trained.
  public var problems: [String] { checks.compactMap(\.problem) }

  let record: VerificationRecord
  let precision: Precision

  /// Compares a model with a record.
  /// - Parameters:
  ///   - model: the model as its files load, with the adapter if there is one.
  ///   - adapter: the adapter on it, if its files are apart from those of the base model that it was trained on.
  ///   - progress: called with the number of answers generated and of all.
  /// - Throws: `SwiftletError` if a device fails.
  public init(
    _ record: VerificationRecord, of model: CausalLM, adapter: Adapter? = nil,
    progress: (Int, Int) -> Void = { _, _ in }
  ) throws {
    self.record = record
    // Trained over a base in 4 bits, the weights fit that base best.
    precision =
      adapter.map { Precision(ofAdapterIn: $0.storedType) }
      ?? (record.quantization != nil ? .fourBit : Precision(model.transformer))
    checkTokenizer(model)
    checkTemplate(model)
    checkEnd(model)
    guard checkHead(model) else { return }
    let tokens = record.rows.map { $0.ids + $0.labels } + record.answers.map(\.prompt) + record.texts.map(\.ids)
    let largest = tokens.joined().max() ?? 0
    guard largest < model.transformer.configuration.vocabularySize else {
      let size = model.transformer.configuration.vocabularySize
      add(
        "vocabulary", "ids up to \(largest)", "\(size) tokens",
        "The model has \(size) tokens only, but it was trained on token \(largest): it is another model.")
      return
    }
    checkLoss(record.rows.map { $0.measured(on: model) })
    try checkScores(record.texts.map { try $0.measured(on: model) }, model)
    try model.transformer.backend.check()
    checkAnswers(model, progress)
  }

  mutating func add(_ name: String, _ recorded: String, _ found: String, _ problem: String?) {
    checks.append(Check(name: name, recorded: recorded, found: found, problem: problem))
  }

  // MARK: Tokenizer, template, end tokens

  private mutating func checkTokenizer(_ model: CausalLM) {
    let other = record.tokenizer.filter { model.tokenizer.encode($0.text, addSpecialTokens: false) != $0.ids }
    let problem = other.first.map { sample in
      "The tokenizer differs: it splits \(sample.text.quotedExcerpt) into other ids than in training."
    }
    add(
      "tokenizer", "\(record.tokenizer.count) texts", "\(record.tokenizer.count - other.count) with the same ids",
      problem)
  }

  private mutating func checkTemplate(_ model: CausalLM) {
    let found = VerificationRecord.hash(model.chatTemplate?.source)
    var problem: String?
    if found != record.template {
      problem =
        found == nil
        ? "The chat template is missing." : "The chat template differs from the one that the model was trained with."
    }
    func text(_ hash: String?) -> String { hash.map { String($0.prefix(8)) } ?? "none" }
    add("chat template", text(record.template), text(found), problem)
  }

  private mutating func checkEnd(_ model: CausalLM) {
    let found = model.endOfSequence
    func text(_ id: Int32?) -> String {
      id.map { "\((model.tokenizer.token($0) ?? "?").quotedExcerpt) (\($0))" } ?? "none"
    }
    let differs = found?.id != record.endOfSequence
    add(
      "EOS token", text(record.endOfSequence), text(found?.id),
      differs
        ? "The EOS token is \(text(found?.id)), but \(text(record.endOfSequence)) in training, so answers may not end."
        : nil)
  }

  // MARK: Loss

  private mutating func checkLoss(_ losses: [Double]) {
    let targets = record.rows.map { Double(max(1, $0.targetCount)) }
    guard !losses.isEmpty else { return }
    let found = losses.reduce(0, +) / targets.reduce(0, +)
    let recorded = record.loss
    // Rows may become better and worse; their mean hides it.
    let distances = zip(losses, zip(record.rows, targets)).map { abs($0 - $1.0.loss) / $1.1 }
    let distance = distances.reduce(0, +) / Double(distances.count)
    var problem: String?
    let base = record.rows.map { $0.baseLoss ?? $0.loss }
    if let baseLoss = record.baseLoss, isLost(losses, trained: record.rows.map(\.loss), base: base) {
      problem =
        "The training is lost: the loss on the recorded rows is \(number(found)), and the base model's \(number(baseLoss)); "
        + "after training it was \(number(recorded))."
    } else if !found.isFinite || !precision.explains(distance, loss: recorded) {
      problem =
        "The weights differ: the loss on the recorded rows is \(number(found)), after training it was \(number(recorded))"
        + (abs(found - recorded) < distance / 2 ? ", and single rows differ by \(number(distance))." : ".")
    }
    add("loss", number(recorded), number(found), problem)
  }

  /// Whether losses or scores are those of the base model, one by one. A run that hardly changed them can't be told from
  /// none.
  func isLost(_ found: [Double], trained: [Double], base: [Double]) -> Bool {
    func distance(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + abs($1.0 - $1.1) } }
    let size = trained.reduce(0) { $0 + abs($1) }
    let isMeasurable = distance(base, trained) > min(precision.tolerance, 0.02) * size
    return isMeasurable && distance(found, base) < distance(found, trained) / 4
  }

  // MARK: Answers

  private mutating func checkAnswers(_ model: CausalLM, _ progress: (Int, Int) -> Void) {
    guard !record.answers.isEmpty else { return }
    var (agreement, ended) = (0.0, 0)
    for (index, answer) in record.answers.enumerated() {
      let found = VerificationRecord.answer(answer.prompt, model, max(1, answer.ids.count + (answer.ends ? 1 : 0)))
      let common = zip(found.ids, answer.ids).prefix { $0 == $1 }.count
      agreement += answer.ids.isEmpty ? (found.ids.isEmpty ? 1 : 0) : Double(common) / Double(answer.ids.count)
      if found.ends { ended += 1 }
      progress(index + 1, record.answers.count)
    }
    agreement /= Double(record.answers.count)
    let percent = Int((agreement * 100).rounded())
    add(
      "greedy answers", "\(record.answers.count)", "\(percent)% of their tokens",
      agreement < precision.agreement
        ? "The greedy answers differ: only \(percent)% of their tokens are as after training." : nil)
    let expected = record.answers.count { $0.ends }
    add(
      "answers that end", "\(expected)", "\(ended)",
      expected >= precision.leastEnds && ended == 0
        ? "The stop token never comes: \(expected) of \(record.answers.count) short answers ended after training." : nil
    )
  }

  func number(_ value: Double) -> String { String(cFormat: "%.4g", value) }

  /// The comparison as a JSON object.
  public var json: JSONValue {
    [
      "passed": .bool(problems.isEmpty), "problems": .array(problems.map { .string($0) }),
      "checks": .array(
        checks.map { ["name": .string($0.name), "recorded": .string($0.recorded), "found": .string($0.found)] }),
    ]
  }
}

extension Verification {
  /// How large a difference the storage format can explain.
  package enum Precision {
    /// The weights of the run.
    case exact
    /// Merged weights in float32, or an adapter in 16 bits.
    case single
    case half, eightBit, fourBit

    /// The precision of an adapter with factors of this type. Its updates are small next to the weights, and so is what
    /// rounding changes.
    init(ofAdapterIn type: ElementType) {
      self = type == .float32 ? .exact : type.isFloat ? .single : .half
    }

    /// The precision of a model's linear layers.
    init(_ transformer: Transformer) {
      let types = Set(transformer.linearLayers.map(\.weight.value.type))
      let eightBits: Set<ElementType> = [.q8_0, .affine8]
      if types.contains(where: { !$0.isFloat && !eightBits.contains($0) }) {
        self = .fourBit
      } else if !types.isDisjoint(with: eightBits) {
        self = .eightBit
      } else {
        self = types.isSubset(of: [.float32, .float64]) ? .single : .half
      }
    }

    /// Whether rounding explains that the rows' losses, with this mean, differ by `distance` on average. It moves logits
    /// by an amount that doesn't shrink with the loss, so below 1 nat the tolerance stays the same.
    package func explains(_ distance: Double, loss: Double) -> Bool { distance <= tolerance * max(1, loss) }

    /// The largest mean difference of a row's loss, as a share of the loss.
    var tolerance: Double {
      switch self {
      case .exact: 0.002
      case .single: 0.005
      case .half: 0.03
      case .eightBit: 0.05
      case .fourBit: 0.4
      }
    }

    /// The largest mean difference of a score, as a share of its size. Rounding moves scores by a larger share than losses:
    /// of SmolLM2-135M by 5% to 12% in 16 bits and by 11% to 21% in 4 bits. That updates are missing, the scores without
    /// them tell.
    var scoreTolerance: Double {
      switch self {
      case .exact: 0.002
      case .single: 0.02
      case .half: 0.3
      case .eightBit: 0.35
      case .fourBit: 0.6
      }
    }

    /// The number of answers that must have ended for it to mean something if none does.
    var leastEnds: Int {
      switch self {
      case .exact, .single: 1
      case .half: 2
      case .eightBit: 3
      case .fourBit: 8
      }
    }

    /// The minimum share of the answers' tokens that must be as recorded. Where two tokens are equally likely, rounding
    /// decides between them.
    var agreement: Double {
      switch self {
      case .exact: 0.9
      case .single: 0.7
      case .half: 0.25
      case .eightBit: 0.15
      case .fourBit: 0
      }
    }
  }
}
