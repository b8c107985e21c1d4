import FineTuning
import Foundation

/// Teaches a model to speak like Yoda: LoRA over a 4-bit base, packed rows, loss on the answers only.
@main enum YodaSpeak {
  /// YodaSpeak [MODEL] [EPOCHS]: a model's folder, GGUF file or org/name. Float weights become NF4 on loading.
  static func main() async throws {
    let words = CommandLine.arguments.dropFirst()
    let place = try await ModelLocation.find(words.first ?? "HuggingFaceTB/SmolLM2-135M-Instruct")
    let model = try CausalLM(
      opening: place, quantization: QuantizationConfiguration(.init(.nf4, doubleQuantized: true)))

    let system = "Speak like Yoda."
    let rows = try Dataset("../yoda/train.csv")
      .renamingColumns(["sentence": "prompt", "translation_extra": "completion"])
      .addingMessages("prompt", ["system": system, "user": "{prompt}"])
      .addingMessages("completion", ["assistant": "{completion}"])

    var config = SFTConfig()
    config.packing = true
    config.packingStrategy = .wrapped
    config.maxLength = 64
    config.completionOnlyLoss = true
    config.trainBatchSize = 16
    config.epochs = words.dropFirst().first.flatMap(Double.init) ?? 2
    config.learningRate = 1e-3
    config.scheduler = .cosine
    config.optimizer = .pagedAdamW8Bit
    config.saveStrategy = .no
    config.outputDir = "outputs/yoda-speak"

    let questions = ["The farmer sold two horses.", "You must not open this box.", "Where did you hide the key?"]
    let before = try questions.map { try model.answer($0, system: system, maxNewTokens: 30) }

    let trainer = try Trainer(model, lora: LoRA(r: 8, alpha: 16, dropout: 0.05), config: config, dataset: rows)
    let recorder = LossRecorder()
    trainer.callbacks = [recorder, Progress()]
    try trainer.train()
    try trainer.saveModel()
    try recorder.curve(title: "Yoda-speak").write(to: URL(fileURLWithPath: "outputs/yoda-speak/loss.png"))

    for (question, before) in zip(questions, before) {
      print("\n\(question)\n  before: \(before)")
      print("  after:  \(try model.answer(question, system: system, maxNewTokens: 30))")
    }
  }
}

/// A line for each step.
final class Progress: TrainerCallback {
  func stepEnded(_ step: StepReport, _ state: TrainerState) {
    print("step \(state.globalStep) of \(state.maxSteps): loss \(step.loss)")
  }
}
