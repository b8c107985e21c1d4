import Auditing
import Checkpoints
import Foundation
import Models
import Swiftlet
import Tensors
import TestSupport
import Testing
import Tokenizers
import Training

/// `Verification` passes what we write, and fails for what has lost the training.
@Suite struct VerificationTests {
  private let folder: URL
  private let base = TinyModel.folder.appendingPathComponent("models/llama")

  init() throws { folder = try scratchFolder("verification") }

  /// A trained adapter in `a`, its base with a tokenizer in `base`, and what the run recorded.
  private func trained() throws -> (trainer: Trainer, record: VerificationRecord) {
    let trainer = try TinyTrainer.trainer {
      $0.learningRate = 3e-2
      $0.epochs = 3
    }
    try trainer.train()
    try trainer.saveModel(to: place("a"))
    let record = try VerificationRecord(of: trainer.model, adapter: trainer.adapter, rows: TinyModel.rows(0..<20))
    try record.write(for: place("a"))
    try base(changing: nil).model.write(to: place("base"), type: .float32)
    try trainer.model.writeTokenizer(to: place("base"))
    return (trainer, record)
  }

  private func place(_ name: String) -> URL { folder.appendingPathComponent(name) }

  private func base(changing change: ((CausalLM) -> Void)?) throws -> (model: CausalLM, adapter: Adapter?) {
    let model = try TinyModel.model(inFloat32: true)
    change?(model)
    return (model, nil)
  }

  private func problems(_ name: String, base: String? = nil, record: String? = nil) async throws -> [String] {
    try await VerifiedModel.open(
      place(name).path, base: base.map { place($0).path }, record: record.map { place($0).path }
    ).verify().problems
  }

  // MARK: What we write passes

  @Test func theAdapterPasses() async throws {
    let (_, record) = try trained()
    #expect(record.loss < 0.8 * (record.baseLoss ?? 0), "\(record.loss) \(record.baseLoss ?? 0)")
    #expect(try VerificationRecord.read(for: place("a")) == record)
    #expect(try await problems("a", base: "base").isEmpty)
  }

  @Test(arguments: [ElementType.float32, .bfloat16, .float16])
  func aMergedFolderAndItsZipPass(_ type: ElementType) async throws {
    let (trainer, _) = try trained()
    try trainer.model.write(to: place("merged"), type: type)
    try trainer.model.writeTokenizer(to: place("merged"))
    #expect(try await problems("merged", record: "a").isEmpty)
    try FileManager.default.copyItem(
      at: place("a/verification.json"), to: place("merged/verification.json"))
    try ZipArchive.write(folder: place("merged"), to: place("merged.zip"))
    #expect(try await problems("merged.zip").isEmpty)
  }

  @Test(arguments: [GGUFType.f32, .f16, .bf16, .q8_0])
  func aGGUFFilePasses(_ type: GGUFType) async throws {
    let (trainer, record) = try trained()
    _ = try trainer.model.writeGGUF(to: place("m.gguf"), type: type, name: "m") { _, _ in }
    try record.write(for: place("m.gguf"))
    let found = try await problems("m.gguf")
    #expect(found.isEmpty, "\(found)")
  }

  /// `nil` for floats.
  @Test(arguments: [nil, AffineFormat(bits: 8, groupSize: 32), AffineFormat(groupSize: 32)])
  func aFolderForMLXAndItsZipPass(_ format: AffineFormat?) async throws {
    let (trainer, record) = try trained()
    try writeMLX(trainer, format, to: "mlx")
    try record.write(for: place("mlx"))
    let found = try await problems("mlx")
    #expect(found.isEmpty, "\(found)")
    try ZipArchive.write(folder: place("mlx"), to: place("mlx.zip"))
    #expect(try await problems("mlx.zip").isEmpty)
  }

  private func writeMLX(_ trainer: Trainer, _ format: AffineFormat?, to name: String) throws {
    try trainer.model.writeMLX(to: place(name), format: format, type: .bfloat16)
    try trainer.model.writeTokenizer(to: place(name))
  }

  @Test(arguments: [GGUFType.f32, .f16, .q8_0])
  func anAdapterForLlamaCppAndItsZipPass(_ type: GGUFType) async throws {
    let (_, record) = try trained()
    try FileManager.default.createDirectory(at: place("files"), withIntermediateDirectories: true)
    try export("a", type: type, gguf: "files/a.gguf", mlx: nil)
    try record.write(for: place("files/a.gguf"))
    let found = try await problems("files/a.gguf", base: "base")
    #expect(found.isEmpty, "\(found)")
    try ZipArchive.write(folder: place("files"), to: place("files.zip"))
    #expect(try await problems("files.zip", base: "base").isEmpty)
    // The file doesn't say what it is for.
    await #expect(throws: SwiftletError.self) { _ = try await problems("files/a.gguf") }
  }

  @Test func anAdapterForMLXPasses() async throws {
    let (_, record) = try trained()
    try export("a", gguf: nil, mlx: "mlx")
    try record.write(for: place("mlx"))
    let found = try await problems("mlx", base: "base")
    #expect(found.isEmpty, "\(found)")
  }

  /// Exports an adapter for llama.cpp and mlx-lm.
  private func export(_ name: String, type: GGUFType = .f32, gguf: String?, mlx: String?) throws {
    let configuration = try ModelFiles(opening: base).configuration
    if let gguf { try LoRAExport.write(place(name), base: configuration, to: place(gguf), type: type, name: name) }
    if let mlx { try MLXAdapterExport.write(place(name), base: configuration, to: place(mlx)) }
  }

  @Test func aModelTrainedInFullPasses() async throws {
    let trainer = try TinyTrainer.trainer(dropout: nil) { $0.learningRate = 1e-3 }
    try trainer.train()
    try trainer.saveModel(to: place("full"))
    let record = try VerificationRecord(of: trainer.model, adapter: nil, rows: TinyModel.rows(0..<20))
    try record.write(for: place("full"))
    #expect(try await problems("full").isEmpty)
  }

  // MARK: What lost the training fails

  @Test func anAdapterWithoutBFails() async throws {
    let (trainer, record) = try trained()
    for parameter in trainer.parameters where parameter.name.contains("lora_B") {
      parameter.value = CPUBackend.shared.tensor(
        [Float](repeating: 0, count: parameter.value.count), parameter.value.shape)
    }
    try trainer.saveModel(to: place("zeroed"))
    try export("zeroed", gguf: "zeroed.gguf", mlx: "zeroed-mlx")
    for name in ["zeroed", "zeroed.gguf", "zeroed-mlx"] {
      try record.write(for: place(name))
      let found = try await problems(name, base: "base")
      #expect(found.contains { $0.hasPrefix("The training is lost") }, "\(name): \(found)")
    }
  }

  @Test func anAdapterOverAnotherBaseFails() async throws {
    let (trainer, _) = try trained()
    // The merged model is a base of the same shape: the adapter would apply twice.
    try trainer.model.write(to: place("other"), type: .float32)
    try trainer.model.writeTokenizer(to: place("other"))
    try export("a", gguf: "a.gguf", mlx: "a-mlx")
    for name in ["a", "a.gguf", "a-mlx"] {
      let found = try await problems(name, base: "other", record: "a")
      #expect(found.contains { $0.hasPrefix("The weights differ") }, "\(name): \(found)")
    }
  }

  @Test func aMergeWithoutTheAdapterFails() async throws {
    let (trainer, _) = try trained()
    trainer.adapter?.isEnabled = false
    try trainer.model.write(to: place("unmerged"), type: .bfloat16)
    try trainer.model.writeTokenizer(to: place("unmerged"))
    try writeMLX(trainer, AffineFormat(bits: 8, groupSize: 32), to: "unmerged-mlx")
    _ = try trainer.model.writeGGUF(to: place("unmerged.gguf"), type: .q8_0, name: "m") { _, _ in }
    for name in ["unmerged", "unmerged-mlx", "unmerged.gguf"] {
      let found = try await problems(name, record: "a")
      #expect(found.contains { $0.hasPrefix("The training is lost") }, "\(name): \(found)")
    }
  }

  /// The first is what bfloat16 did to five-token answers that a run on twenty rows had learned to a loss of 0.226.
  @Test(arguments: [(0.0127, 0.226, true), (0.05, 0.226, false), (0.1, 4.0, true), (0.2, 4.0, false)])
  func roundingIsToleratedAtLowLossesToo(_ distance: Double, _ loss: Double, _ isExplained: Bool) {
    #expect(Verification.Precision.half.explains(distance, loss: loss) == isExplained)
  }

  @Test func aGGUFFileWithAnotherTemplateFails() async throws {
    _ = try trained()
    let files = try ModelFiles(opening: base)
    let tokenizer = try Tokenizer(directory: TinyModel.folder.appendingPathComponent("models/tokenizer"))
    let other = try CausalLM(
      files, tokenizer: tokenizer, chatTemplate: "{% for m in messages %}{{ m.content }}{% endfor %}")
    let adapter = try Adapter(reading: place("a"), onto: other.transformer)
    _ = try other.writeGGUF(to: place("other.gguf"), type: .f32, name: "m") { _, _ in }
    withExtendedLifetime(adapter) {}
    let found = try await problems("other.gguf", record: "a")
    #expect(found == ["The chat template differs from the one that the model was trained with."], "\(found)")
  }

  @Test func filesWithAnotherEndTokenFail() async throws {
    let (trainer, _) = try trained()
    let token = try #require(trainer.model.tokenizer.token(5))
    try trainer.model.setEndOfSequence(token)
    _ = try trainer.model.writeGGUF(to: place("end.gguf"), type: .f32, name: "m") { _, _ in }
    try writeMLX(trainer, nil, to: "end-mlx")
    for name in ["end.gguf", "end-mlx"] {
      let found = try await problems(name, record: "a")
      #expect(found.contains { $0.hasPrefix("The EOS token is") }, "\(name): \(found)")
    }
  }

  @Test func swappedRowsOfQueriesAndKeysFail() async throws {
    let (trainer, _) = try trained()
    let merged = place("merged")
    try trainer.model.write(to: merged, type: .float32)
    try trainer.model.writeTokenizer(to: merged)
    let model = try CausalLM(opening: merged, inFloat32: true)
    for parameter in model.transformer.parameters
    where parameter.name.contains("q_proj") || parameter.name.contains("k_proj") {
      // As a converter does that forgets, or repeats, llama.cpp's permutation.
      let (columns, values) = (parameter.value.columns, CPUBackend.shared.floats(parameter.value))
      let rows = stride(from: 0, to: values.count, by: columns).map { Array(values[$0..<$0 + columns]) }
      let half = rows.count / 2
      let swapped = (0..<half).flatMap { [rows[$0], rows[$0 + half]] }
      parameter.value = CPUBackend.shared.tensor(swapped.flatMap(\.self), parameter.value.shape)
    }
    try model.write(to: place("swapped"), type: .float32)
    try model.writeTokenizer(to: place("swapped"))
    _ = try model.writeGGUF(to: place("swapped.gguf"), type: .f16, name: "m") { _, _ in }
    try model.writeMLX(to: place("swapped-mlx"), format: nil, type: .float16)
    try model.writeTokenizer(to: place("swapped-mlx"))
    for name in ["swapped", "swapped.gguf", "swapped-mlx"] {
      let found = try await problems(name, record: "a")
      #expect(found.contains { $0.hasPrefix("The weights differ") }, "\(name): \(found)")
    }
  }

  @Test func aTruncatedZipFails() async throws {
    let (_, _) = try trained()
    try ZipArchive.write(folder: place("a"), to: place("a.zip"))
    let bytes = try Data(contentsOf: place("a.zip"))
    for share in [0.3, 0.9, 0.999] {
      try bytes.prefix(Int(Double(bytes.count) * share)).write(to: place("cut.zip"))
      await #expect(throws: SwiftletError.self) { _ = try await VerifiedModel.open(place("cut.zip").path) }
    }
    // A damaged byte in the weights.
    var damaged = bytes
    damaged[damaged.startIndex + bytes.count / 2] ^= 0xFF
    try damaged.write(to: place("damaged.zip"))
    await #expect(throws: SwiftletError.self) { _ = try await VerifiedModel.open(place("damaged.zip").path) }
  }

  @Test func withoutARecordThereIsNothingToCompare() async throws {
    _ = try trained()
    try FileManager.default.removeItem(at: place("a/verification.json"))
    await #expect(throws: SwiftletError.self) { _ = try await VerifiedModel.open(place("a").path) }
  }
}
