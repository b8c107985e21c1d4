import Swiftlet

/// Fine-tunes a quantized model on a few rows and talks to it.
enum TenLines {
  static func run(_ setup: Setup) async throws {
    let model = try await LanguageModel(setup.model, quantization: .nf4)
    let data = Dataset(Setup.sentences).map { [.user($0["sentence"]), .assistant($0["translation"])] }
    let run = try FineTuning(model, adapter: .lora(rank: 8), data: data) {
      $0.learningRate = 1e-3
      $0.epochs = 2
      $0.trainBatchSize = 4
      $0.outputDir = Setup.folder("ten-lines")
    }
    for try await event in run.events {
      if case .step(let step) = event { print("step \(step.step): loss \(step.loss)") }
    }
    try await run.save()
    for try await text in ChatSession(model, maxNewTokens: 30).stream("The force is strong in you.") {
      write(text)
    }
    write("\n")
  }
}
