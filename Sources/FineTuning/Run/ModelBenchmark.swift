import Datasets
import Foundation
import Models
import OrderedJSON
import Tensors

/// What a model reaches on this machine.
public struct ModelBenchmark: Sendable {
  /// Tokens of a prompt read a second.
  public var prompt: Double
  /// Tokens generated a second, greedily.
  public var decode: Double
  /// Tokens trained on a second: LoRA r=16 on every linear layer, loss on every token.
  public var training: Double
  /// The most memory that this process has had, in bytes.
  public var peakBytes: Int

  /// Measures `model`; it has an adapter on it afterwards.
  ///
  /// - Parameters:
  ///   - decode: tokens to generate.
  ///   - rows: rows of a training step.
  ///   - rowTokens: tokens of a row.
  public static func run(_ model: CausalLM, decode: Int, rows: Int, rowTokens: Int) throws -> ModelBenchmark {
    let clock = ContinuousClock()
    func seconds(_ body: () throws -> Void) rethrows -> Double { try clock.measure(body) / .seconds(1) }
    var random = RandomSource(seed: 1)
    func ids(_ count: Int) -> [Int32] {
      (0..<count).map { _ in Int32(random.next() % UInt64(model.decoder.configuration.vocabularySize)) }
    }
    let prompt = ids(256)
    func generate(_ prompt: [Int32], _ count: Int) -> Double {
      seconds { _ = model.decoder.generate(prompt, maxNewTokens: count, stopTokens: []) }
    }
    _ = generate(prompt, 1)
    let promptSeconds = (0..<3).map { _ in generate(prompt, 1) }.sorted()[1]
    let decodeSeconds = generate(Array(prompt.prefix(8)), decode)

    var configuration = LoRAConfiguration()
    configuration.r = 16
    configuration.loraAlpha = 32
    configuration.targetModules = .allLinear
    let adapter = try Adapter(configuration, on: model.decoder, seed: 0)
    let sequences = (0..<rows).map { _ in JSONValue.array(ids(rowTokens).map { .integer(Int($0)) }) }
    let source = MemoryRows(sequences.map { JSONObject([("input_ids", $0)]) })
    let set = try Preparation(RowTokenizer(model.tokenizer)).prepare(source).set
    var arguments = TrainingArguments()
    arguments.trainBatchSize = rows
    arguments.maxSteps = 4
    arguments.saveStrategy = .no
    let trainer = try SFTTrainer(model, adapter: adapter, arguments: arguments, trainingSet: set)
    let recorder = StepClock()
    trainer.callbacks = [recorder]
    try trainer.train()
    // The first step fills the buffers.
    let times = zip(recorder.ends, recorder.ends.dropFirst()).map { ($1 - $0) / .seconds(1) }.sorted()
    return ModelBenchmark(
      prompt: Double(prompt.count) / promptSeconds, decode: Double(decode) / decodeSeconds,
      training: Double(rows * rowTokens) / times[times.count / 2], peakBytes: SystemMemory.peakResident)
  }

  private final class StepClock: TrainerCallback {
    var ends: [ContinuousClock.Instant] = []
    func stepEnded(_ step: StepReport, _ state: TrainerState) { ends.append(ContinuousClock().now) }
  }
}
