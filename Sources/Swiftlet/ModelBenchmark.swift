import Datasets
import Essentials
import Models
import OrderedJSON
import Tensors
import Training

/// Measures the speed of a model on this machine.
public struct ModelBenchmark {
  /// The speed of generation, in tokens per second.
  public struct Generating: Sendable {
    /// Reading a prompt of 256 tokens.
    public var prompt: Double
    /// Decoding greedily after a prompt of 8 tokens.
    public var decode: Double
  }

  private let model: CausalLM
  private var random = RandomSource(seed: 1)

  /// Creates a benchmark of a model.
  public init(_ model: CausalLM) { self.model = model }

  private mutating func ids(_ count: Int) -> [Int32] {
    (0..<count).map { _ in Int32(random.next() % UInt64(model.transformer.configuration.vocabularySize)) }
  }

  private func seconds(_ body: () throws -> Void) rethrows -> Double {
    try ContinuousClock().measure(body) / .seconds(1)
  }

  /// Measures generation: the medians of three runs of `count` tokens.
  public mutating func generation(count: Int) -> Generating {
    let prompt = ids(256)
    func generate(_ prompt: [Int32], _ count: Int) -> Double {
      seconds { _ = model.transformer.generate(prompt, maxNewTokens: count, stopTokens: []) }
    }
    _ = generate(prompt, 2)
    let promptSeconds = (0..<3).map { _ in generate(prompt, 1) }.sorted()[1]
    let short = Array(prompt.prefix(8))
    let decodeSeconds = (0..<3).map { _ in generate(short, count) }.sorted()[1]
    return Generating(prompt: 256 / promptSeconds, decode: Double(count) / decodeSeconds)
  }

  /// Measures training with LoRA r=16 on all linear layers and loss on all tokens. Leaves the adapter on the model.
  /// - Returns: tokens per second.
  public mutating func training(rows: Int, rowTokens: Int) throws -> Double {
    var configuration = LoRAConfiguration()
    configuration.rank = 16
    configuration.alpha = 32
    configuration.targetModules = .allLinear
    let adapter = try Adapter(configuration, on: model.transformer, seed: 0)
    let sequences = (0..<rows).map { _ in JSONValue.array(ids(rowTokens).map { .integer(Int($0)) }) }
    let source = InMemoryRows(sequences.map { JSONObject([("input_ids", $0)]) })
    let set = try Preparation(RowTokenizer(model.tokenizer)).prepare(source).set
    var arguments = TrainingConfiguration()
    arguments.trainBatchSize = rows
    arguments.maxSteps = 4
    arguments.saveStrategy = .no
    let trainer = try Trainer(model, adapter: adapter, configuration: arguments, trainingSet: set)
    let recorder = StepClock()
    trainer.callbacks = [recorder]
    try trainer.train()
    // The first step allocates the buffers.
    let times = zip(recorder.ends, recorder.ends.dropFirst()).map { ($1 - $0) / .seconds(1) }.sorted()
    return Double(rows * rowTokens) / times[times.count / 2]
  }

  private final class StepClock: TrainerCallback {
    var ends: [ContinuousClock.Instant] = []
    func stepEnded(_ step: StepReport, _ state: TrainerState) { ends.append(ContinuousClock().now) }
  }
}
